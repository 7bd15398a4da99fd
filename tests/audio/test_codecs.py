"""What comes out of codecs: as others decode it, in its place, and with losses concealed."""

import importlib.util
import io

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, correlate, sosfiltfilt

from beam_jobs.audio import pyav_codecs
from beam_jobs.audio.codecs import find_missing, through_codec
from beam_jobs.audio.concealment import conceal_losses
from schemas.pcm import to_pcm, to_samples
from schemas.transmission import Codec

CODECS = [
    Codec("mu_law"),
    Codec("a_law"),
    Codec("gsm"),
    *(Codec("amr_nb", kbps) for kbps in (4.75, 12.2)),
    *(Codec("opus", kbps) for kbps in (6, 12, 24)),
    *(Codec("mp3", kbps) for kbps in (8, 32, 64)),
]
TELEPHONES = [Codec("mu_law"), Codec("a_law"), Codec("gsm")]


def speech(duration_s, sample_rate, seed=0):
    """Harmonics of a pitch that moves, in syllables, with a little noise, float32 [samples].

    Without what is below 800 Hz, of which codecs for calls shift the phase to take hum out.
    """
    random = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    pitch_hz = 120 * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * time_s + seed))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
    wave = sum(np.sin(k * phase + k * k) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time_s), 0, 1)
    sound = 0.08 * wave * syllables + random.normal(0, 0.001, len(time_s))
    high_pass = butter(4, 800, "highpass", fs=sample_rate, output="sos")
    return sosfiltfilt(high_pass, sound).astype(np.float32)


def label(codec):
    return codec.name if codec.kbps is None else f"{codec.name}-{codec.kbps:g}"


def intervals(name):
    """The magnitudes of tables 1 and 2 of G.711: output levels, with the ends of their intervals.

    Those of the A-law have 13 bits, those of the mu-law 14; here all have 16.
    """
    if name == "a_law":
        steps = [(2 * step + 1, 1) for step in range(16)]
        steps += [
            ((2 * step + 33) << chord, 1 << chord) for chord in range(7) for step in range(16)
        ]
        return {8 * level: (8 * (level - half), 8 * (level + half)) for level, half in steps}
    steps = [((2 * step + 33) << chord, 1 << chord) for chord in range(8) for step in range(16)]
    return {
        4 * (level - 33): (4 * (level - half - 33), 4 * (level + half - 33))
        for level, half in steps
    }


@pytest.mark.parametrize("name", ["mu_law", "a_law"])
def test_every_sample_comes_to_the_level_of_its_interval_in_the_tables_of_g711(name):
    pcm = np.arange(-32768, 32768)
    heard = to_pcm(through_codec(to_samples(pcm.astype(np.int16)), 8000, Codec(name))).astype(int)
    levels = intervals(name)
    assert set(heard) == set(levels) | {-level for level in levels}
    low, high = np.array([levels[level] for level in np.abs(heard)]).T
    high[high == high.max()] = 32768
    assert (np.abs(pcm) >= low).all()
    assert (np.abs(pcm) <= high).all()
    assert (np.diff(heard) >= 0).all()


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("mu_law", {0: 0, 3: 0, 4: 8, 8: 8, 100: 104, 1000: 988, -1000: -988}),
        ("mu_law", {32767: 32124, -32768: -32124}),
        ("a_law", {0: 8, 15: 8, 16: 24, 100: 104, 1000: 1008, -1000: -1008}),
        ("a_law", {32767: 32256, -32768: -32256}),
    ],
)
def test_known_samples_have_the_values_of_g711(name, pairs):
    heard = to_pcm(through_codec(to_samples(np.array([*pairs], np.int16)), 8000, Codec(name)))
    assert dict(zip(pairs, heard.tolist(), strict=True)) == pairs


@pytest.mark.parametrize(
    ("name", "encoding", "decoder"),
    [("mu_law", "ULAW", "pcm_mulaw"), ("a_law", "ALAW", "pcm_alaw"), ("gsm", "GSM610", "gsm")],
)
def test_ffmpeg_decodes_the_same(name, encoding, decoder):
    sound = speech(1.0, 8000)
    file = io.BytesIO()
    soundfile.write(file, to_pcm(sound), 8000, encoding, format="RAW")
    context = av.CodecContext.create(decoder, "r")
    context.sample_rate, context.layout = 8000, "mono"
    size = 33 if name == "gsm" else 160
    content = file.getvalue()
    decoded = np.concatenate(
        [
            frame.to_ndarray()[0]
            for start in range(0, len(content), size)
            for frame in context.decode(av.Packet(content[start : start + size]))
        ]
    )
    heard = to_pcm(through_codec(sound, 8000, Codec(name)))
    np.testing.assert_array_equal(heard, decoded[: len(heard)])


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
@pytest.mark.parametrize("codec", CODECS, ids=label)
def test_what_comes_out_is_as_late_as_what_went_in(codec, sample_rate):
    sound = speech(1.5, sample_rate)
    heard = through_codec(sound, sample_rate, codec)
    assert heard.shape == sound.shape
    assert heard.dtype == np.float32
    # A part of a sample of a codec at 8 kHz may be a sample at 44.1, and Opus's delay is no whole
    # number of samples.
    tolerance = 1 if codec.name == "opus" or sample_rate > 16000 else 0
    likeness = correlate(heard, sound, method="fft")
    assert abs(np.argmax(likeness) - (len(sound) - 1)) <= tolerance


@settings(max_examples=30)
@given(
    codec=st.sampled_from(CODECS),
    num_samples=st.integers(1, 700),
    sample_rate=st.sampled_from([8000, 11025, 16000, 44100, 96000]),
)
def test_a_signal_of_any_length_and_rate_keeps_its_length(codec, num_samples, sample_rate):
    sound = speech(1, sample_rate)[:num_samples]
    assert through_codec(sound, sample_rate, codec).shape == sound.shape


@pytest.mark.parametrize("codec", CODECS, ids=label)
def test_the_same_speech_always_sounds_the_same(codec):
    sound = speech(0.5, 16000)
    np.testing.assert_array_equal(
        through_codec(sound, 16000, codec), through_codec(sound, 16000, codec)
    )


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_more_bits_bring_the_speech_nearer(name):
    sound = speech(1.0, 16000)
    errors = [
        np.square(through_codec(sound, 16000, Codec(name, kbps)) - sound).mean()
        for kbps in (8, 16, 48)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.5 * errors[-1]


def hum(num_samples):
    """A pitch of 100 Hz, the same all the time."""
    time_s = np.arange(num_samples) / 8000
    wave = sum(np.sin(2 * np.pi * 100 * k * time_s + k * k) / k for k in range(1, 12))
    return (0.1 * wave).astype(np.float32)


def test_a_lost_packet_of_a_steady_voice_is_hardly_missed():
    sound = hum(4000)
    concealed = conceal_losses(sound, [10], 0.02, 8000)
    received = np.r_[0:1600, 1792:4000]
    np.testing.assert_array_equal(concealed[received], sound[received])
    # Ten milliseconds at the full level, and then a fifth less every ten.
    np.testing.assert_allclose(concealed[1600:1680], sound[1600:1680], atol=1e-5)
    np.testing.assert_allclose(concealed[1719], 0.9025 * sound[1719], atol=1e-3)


def test_a_long_loss_fades_into_silence_within_60_ms():
    sound = hum(8000)
    concealed = conceal_losses(sound, [*range(10, 30)], 0.02, 8000)
    assert np.abs(concealed[1600 + 480 : 4800]).max() < 1e-8
    assert np.abs(concealed[1600 + 240 : 1600 + 400]).max() > 0.01
    np.testing.assert_array_equal(concealed[4800 + 32 :], sound[4800 + 32 :])


@given(
    lost=st.sets(st.integers(0, 30)).map(sorted),
    num_samples=st.integers(1, 5000),
    seed=st.integers(0, 9),
)
def test_concealment_touches_nothing_but_what_is_lost_and_4_ms_behind_it(lost, num_samples, seed):
    sound = np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)
    concealed = conceal_losses(sound, lost, 0.02, 8000)
    assert concealed.shape == sound.shape
    assert np.isfinite(concealed).all()
    touched = np.zeros(num_samples, bool)
    for number in lost:
        touched[160 * number : 160 * (number + 1) + 32] = True
    np.testing.assert_array_equal(concealed[~touched], sound[~touched])


@pytest.mark.parametrize("codec", [Codec("amr_nb", 12.2), Codec("opus", 16)], ids=label)
def test_the_decoder_conceals_what_is_lost(codec):
    sound = np.tile(hum(8000), 2)
    lost = Codec(codec.name, codec.kbps, (40, 41, 60))
    whole, concealed = (through_codec(sound, 8000, one) for one in (codec, lost))
    np.testing.assert_allclose(concealed[: 39 * 160], whole[: 39 * 160], atol=1e-6)
    first = slice(40 * 160 + 40, 41 * 160)
    assert not np.array_equal(concealed[first], whole[first])
    # Neither silence nor a click: the voice goes on.
    ratio = np.square(concealed[first]).mean() / np.square(whole[first]).mean()
    assert 0.2 < ratio < 2
    late = slice(-40 * 160, None)
    assert np.corrcoef(concealed[late], whole[late])[0, 1] > 0.9


@pytest.mark.parametrize("codec", [*TELEPHONES, Codec("amr_nb", 7.4), Codec("opus", 9)], ids=label)
def test_a_signal_of_which_nothing_arrives_is_silent_or_nearly_so(codec):
    sound = speech(2.0, 8000)
    nothing = Codec(codec.name, codec.kbps, tuple(range(100)))
    heard = through_codec(sound, 8000, nothing)
    assert np.square(heard).mean() < 1e-3 * np.square(sound).mean()


def test_codecs_that_need_pyav_say_so(monkeypatch):
    assert find_missing(["mu_law", "a_law", "gsm", "mp3", "amr_nb", "opus"]) == ""
    monkeypatch.setattr(pyav_codecs.av, "codecs_available", {"opus"})
    assert find_missing(["amr_nb"]).startswith("amr_nb needs a PyAV with libopencore_amrnb: pip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert find_missing(["opus"]) == "opus needs PyAV: pip install 'spleeter-beam[av]'"
    assert find_missing(["mu_law", "a_law", "gsm", "mp3"]) == ""
