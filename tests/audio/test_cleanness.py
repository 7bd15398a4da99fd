"""How clean a recording is, against recordings of which that is known."""

import math

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import firwin, lfilter

from beam_jobs.audio.cleanness import measure_cleanness

RATE = 16_000


def speech(duration_s=6.0, rate=RATE, seed=0, level=0.05):
    """Noise with the envelope of syllables, words and pauses, at all frequencies."""
    rng = np.random.default_rng(seed)
    num_samples = round(duration_s * rate)
    syllables = np.repeat(rng.uniform(0.1, 1, math.ceil(duration_s * 5)), rate // 5)[:num_samples]
    time_s = np.arange(num_samples) / rate
    words = (time_s % 1.5) < 1.1
    return (level * rng.normal(size=num_samples) * syllables * words).astype(np.float32)


def hiss(like, snr_db, seed=1):
    noise = np.random.default_rng(seed).normal(size=len(like))
    power = np.mean(np.square(like, dtype=np.float64))
    return (noise * math.sqrt(power / 10 ** (snr_db / 10))).astype(np.float32)


def quantised(samples):
    return (np.rint(samples * 32768) / 32768).astype(np.float32)


def low_passed(samples, cutoff_hz, rate=RATE):
    return lfilter(firwin(301, cutoff_hz, fs=rate), 1, samples).astype(np.float32)


@pytest.mark.parametrize("cutoff_hz", [2000, 3400, 4000, 5500, 7000])
def test_the_bandwidth_is_that_of_the_filter_that_speech_went_through(cutoff_hz):
    measured = measure_cleanness(quantised(low_passed(speech(), cutoff_hz)), RATE)
    assert measured.bandwidth_hz == pytest.approx(cutoff_hz, abs=200)


def test_a_telephone_call_in_a_file_of_16_khz_has_the_bandwidth_of_a_telephone_call():
    call = soxr.resample(soxr.resample(speech(), RATE, 8000), 8000, RATE)
    measured = measure_cleanness(quantised(call), RATE)
    assert measured.bandwidth_hz == pytest.approx(4000, abs=200)


def test_noise_within_the_band_of_a_call_does_not_hide_its_bandwidth():
    narrow = soxr.resample(speech(), RATE, 8000)
    call = soxr.resample(narrow + hiss(narrow, 15), 8000, RATE)
    assert measure_cleanness(quantised(call), RATE).bandwidth_hz == pytest.approx(4000, abs=200)


@pytest.mark.parametrize("smaller_rate", [8000, 11_025, 12_000])
@pytest.mark.parametrize("start", [0, 1234])
def test_what_was_made_larger_without_a_filter_is_known_by_its_mirror_image(smaller_rate, start):
    small = speech(rate=smaller_rate)
    times_s = np.arange(6 * RATE) / RATE
    drawn = np.interp(times_s, np.arange(len(small)) / smaller_rate, small)[start:]
    measured = measure_cleanness(quantised(drawn), RATE)
    assert measured.bandwidth_hz == pytest.approx(smaller_rate / 2, abs=200)


def test_repeated_samples_are_no_higher_sound():
    repeated = np.repeat(speech(rate=8000), 2)
    assert measure_cleanness(quantised(repeated), RATE).bandwidth_hz == 4000


def test_a_loud_click_is_no_mirror_image():
    clicked = speech()
    clicked[20_000] = 0.9
    assert measure_cleanness(quantised(clicked), RATE).bandwidth_hz == RATE / 2


def test_what_has_no_pauses_has_its_bandwidth_all_the_same():
    steady = soxr.resample(hiss(speech(rate=8000), 0), 8000, RATE)
    measured = measure_cleanness(quantised(steady), RATE)
    assert measured.speech_share == 0
    assert measured.bandwidth_hz == pytest.approx(4000, abs=200)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_what_nothing_has_cut_off_has_half_its_sample_rate(rate):
    assert measure_cleanness(speech(rate=rate), rate).bandwidth_hz == rate / 2


def test_speech_that_grows_softer_towards_high_frequencies_is_not_cut_off():
    # 12 dB an octave, as a dull voice.
    dull = lfilter([1], [1, -1.8, 0.81], speech()).astype(np.float32)
    assert measure_cleanness(quantised(0.1 * dull), RATE).bandwidth_hz == RATE / 2


def test_a_tone_above_an_edge_does_not_hide_it():
    tone = 0.003 * np.sin(2 * np.pi * 6000 * np.arange(6 * RATE) / RATE)
    measured = measure_cleanness(quantised(low_passed(speech(), 4000) + tone), RATE)
    assert measured.bandwidth_hz == pytest.approx(4000, abs=200)


@pytest.mark.parametrize("snr_db", [0, 5, 10, 15, 20, 30])
def test_the_ratio_of_speech_to_a_steady_noise_is_within_a_decibel(snr_db):
    clean = speech()
    measured = measure_cleanness(clean + hiss(clean, snr_db), RATE)
    assert measured.snr_db == pytest.approx(snr_db, abs=1)


def test_digital_silence_between_words_is_no_clean_recording():
    clean = speech()
    gated = (clean + hiss(clean, 10)) * (np.arange(len(clean)) % (6 * RATE) < 4 * RATE)
    assert measure_cleanness(gated, RATE).snr_db == pytest.approx(10, abs=1)


def test_noise_alone_has_neither_speech_nor_a_ratio():
    noise = np.random.default_rng(0).normal(0, 0.05, 3 * RATE).astype(np.float32)
    measured = measure_cleanness(noise, RATE)
    assert measured.snr_db < -9
    assert measured.speech_share == 0


def test_pauses_are_no_speech():
    with_pauses = speech(9)
    with_pauses[2 * RATE : 7 * RATE] = 0
    measured = measure_cleanness(with_pauses + hiss(with_pauses, 20), RATE)
    # Four seconds, of which words take 1.1 s of each 1.5 s.
    assert measured.speech_share == pytest.approx(1.1 / 1.5 * 4 / 9, abs=0.05)


@pytest.mark.parametrize("ceiling", [1.0, 0.3])
@pytest.mark.parametrize("height", [0.5, 0.9])
def test_clipped_samples_are_counted_at_full_scale_and_below_it(ceiling, height):
    tone = ceiling / height * np.sin(2 * np.pi * 110 * np.arange(6 * RATE) / RATE)
    clipped = np.clip(tone, -ceiling, ceiling).astype(np.float32)
    # A sine is above a part of its height for this part of its period.
    expected = 1 - 2 / math.pi * math.asin(height)
    measured = measure_cleanness(quantised(clipped), RATE)
    assert measured.clipped_share == pytest.approx(expected, rel=0.03)


def test_a_few_clipped_samples_in_much_speech_are_found():
    sound = low_passed(speech(level=0.02), 500)
    sound[1000:1010] = sound[50_000:50_005] = 0.8
    assert measure_cleanness(quantised(sound), RATE).clipped_share == 15 / len(sound)


def test_a_recording_that_was_only_made_as_loud_as_can_be_is_not_clipped():
    sound = low_passed(speech(), 3000)
    assert measure_cleanness(sound / np.abs(sound).max(), RATE).clipped_share < 2e-5
    assert measure_cleanness(quantised(0.5 * sound / np.abs(sound).max()), RATE).clipped_share == 0


@given(
    st.integers(0, 3000),
    st.sampled_from([1000, 8000, 16_000, 48_000]),
    st.floats(0, 2),
    st.booleans(),
)
def test_any_recording_has_measures_within_their_bounds(num_samples, rate, level, is_constant):
    samples = np.random.default_rng(num_samples).normal(0, level, num_samples)
    if is_constant:
        samples = np.full(num_samples, level)
    measured = measure_cleanness(samples.astype(np.float32), rate)
    assert 0 < measured.bandwidth_hz <= rate / 2
    assert 0 <= measured.clipped_share <= 1
    assert 0 <= measured.speech_share <= 1
    assert not math.isnan(measured.snr_db)
