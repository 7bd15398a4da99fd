import contextlib
import itertools

import numpy as np
import pytest
import scipy.signal

from beam_jobs.separation.held_windows import HeldWindows
from beam_jobs.separation.tracks import Tracks
from beam_jobs.separation.voice_clusters import cluster_pieces
from beam_jobs.separation.voice_embedder import VoiceEmbedder
from beam_jobs.separation.voice_pieces import Pieces
from beam_jobs.separation.voices import order_windows
from beam_jobs.separation.window_orders import arrange
from beam_jobs.separation.windows import crossfade_framing

SAMPLE_RATE = 8000
FRAMING = crossfade_framing(4 * SAMPLE_RATE, SAMPLE_RATE // 4, aligned=False)


def speak(rng, pitch_hz, tract, num_samples):
    """Returns a row of vowels: pulses at about a pitch, through the formants of a vocal tract."""
    signal = np.zeros(num_samples, np.float32)
    start = 0
    while start < num_samples:
        length = int(rng.uniform(0.12, 0.4) * SAMPLE_RATE)
        time = np.arange(length) / SAMPLE_RATE
        pitch = pitch_hz * rng.uniform(0.85, 1.2) * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))
        voice = np.diff(np.floor(np.cumsum(pitch) / SAMPLE_RATE), prepend=0)
        voice += 0.02 * rng.standard_normal(length)
        for formant_hz, width_hz in zip(
            rng.uniform([300, 900, 2300], [800, 2000, 3000]), [80, 120, 160], strict=True
        ):
            radius = np.exp(-np.pi * width_hz / SAMPLE_RATE)
            angle = 2 * np.pi * min(formant_hz * tract, 3800) / SAMPLE_RATE
            voice = scipy.signal.lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], voice)
        voice *= np.hanning(length) / (np.abs(voice).max() + 1e-9)
        signal[start : start + length] += (0.3 * voice)[: num_samples - start].astype(np.float32)
        start += length + int(rng.uniform(0, 0.08) * SAMPLE_RATE)
    return signal


def converse(rng, duration_s, speakers):
    """Returns turns with overlaps and pauses of up to 20 s, float32 [speakers, samples]."""
    num_samples = duration_s * SAMPLE_RATE
    banks = [speak(rng, *speaker, 60 * SAMPLE_RATE) for speaker in speakers]
    sources = np.zeros((len(speakers), num_samples), np.float32)
    time_s, speaker = 0.5, 0
    while time_s < duration_s:
        length_s = rng.uniform(1.5, 8)
        start, length = int(time_s * SAMPLE_RATE), int(length_s * SAMPLE_RATE)
        offset = rng.integers(0, len(banks[0]) - length)
        turn = banks[speaker][offset : offset + length][: num_samples - start]
        sources[speaker, start : start + len(turn)] = turn
        pause_s = rng.uniform(3, 20) if rng.uniform() < 0.3 else rng.uniform(-1.5, 1)
        time_s += max(0.5, length_s + pause_s)
        speaker = rng.integers(len(speakers))
    return sources


def outputs_of_a_joint_model(rng, sources):
    """Makes outputs for each window as a model might: leaking, noisy, in any order.

    Yields the outputs, the order that they are in, and whether anyone speaks.
    """
    noise = 0.002 * rng.standard_normal(sources.shape[1]).astype(np.float32)
    for start in range(0, sources.shape[1] - FRAMING.length, FRAMING.hop):
        window = sources[:, start : start + FRAMING.length]
        leak = rng.uniform(0.02, 0.15)
        outputs = (1 - leak) * window + leak * window[::-1]
        # The noise is divided at random.
        share = rng.uniform(0, 1)
        outputs = outputs + np.array([[share], [1 - share]]) * noise[start : start + FRAMING.length]
        order = rng.permutation(len(sources))
        speech = np.abs(window[:, FRAMING.context : -FRAMING.context]).max() > 0.05
        yield outputs[order][:, :, np.newaxis].astype(np.float32), order, speech


@pytest.fixture(scope="module")
def embedder():
    return VoiceEmbedder(SAMPLE_RATE)


def find_order(windows, embedder):
    """Finds the order of windows [sources, length, channels]."""
    with contextlib.closing(HeldWindows(SAMPLE_RATE)) as held:
        for window in windows:
            held.add(window)
        return order_windows(held, FRAMING, embedder, SAMPLE_RATE)


def count_swaps(speakers):
    """Counts how often a speaker changes outputs between two windows with speech."""
    return np.count_nonzero(np.diff(speakers))


@pytest.mark.parametrize(
    ("speakers", "largest_share"),
    [(((110, 1.0), (200, 1.18)), 0.12), (((110, 1.0), (135, 1.08)), 0.2)],
    ids=["unlike", "alike"],
)
def test_speakers_keep_their_outputs_over_ten_minutes_with_long_pauses(
    speakers, largest_share, embedder
):
    sources = converse(np.random.default_rng(3), 10 * 60, speakers)
    windows = list(outputs_of_a_joint_model(np.random.default_rng(4), sources))
    found = find_order([outputs for outputs, _, _ in windows], embedder)
    as_they_are = [order[0] for _, order, speech in windows if speech]
    ordered = [
        order[changes[0][1][0]]
        for (_, order, speech), changes in zip(windows, found.changes, strict=True)
        if speech
    ]
    assert count_swaps(as_they_are) >= 50
    assert count_swaps(ordered) <= largest_share * count_swaps(as_they_are)
    assert found.num_voices == 2


def windows_of(*signals):
    """Cuts signals [samples] of the outputs into windows [sources, length, channels]."""
    outputs = np.stack(signals)[:, :, np.newaxis].astype(np.float32)
    starts = range(0, outputs.shape[1] - FRAMING.length + 1, FRAMING.hop)
    return [outputs[:, start : start + FRAMING.length] for start in starts]


def test_who_is_alone_has_no_company_in_what_leaks(embedder):
    voice = speak(np.random.default_rng(0), 120, 1.0, 20 * SAMPLE_RATE)
    found = find_order(windows_of(0.03 * voice, voice), embedder)
    assert (found.num_voices, found.more_voices) == (1, False)


def test_outputs_that_all_have_everybody_are_not_taken_for_one_person(embedder):
    voice = speak(np.random.default_rng(0), 120, 1.0, 20 * SAMPLE_RATE)
    found = find_order(windows_of(0.9 * voice, voice), embedder)
    assert found.num_voices == 2


def test_people_who_sound_alike_are_two_where_they_talk_at_once(embedder):
    generator = np.random.default_rng(0)
    first, second = (speak(generator, pitch_hz, 1.0, 20 * SAMPLE_RATE) for pitch_hz in (120, 125))
    second[: 15 * SAMPLE_RATE] = 0
    assert find_order(windows_of(first, second), embedder).num_voices == 2


def test_one_person_whom_the_outputs_have_in_turns_is_one(embedder):
    voice = speak(np.random.default_rng(0), 120, 1.0, 20 * SAMPLE_RATE)
    is_second = (np.arange(len(voice)) // (3 * SAMPLE_RATE)) % 2
    found = find_order(windows_of(voice * (1 - is_second), voice * is_second), embedder)
    assert found.num_voices == 1


def test_whoever_says_little_is_not_left_to_somebody_else_who_is_divided_in_two():
    moods = np.array([[0.93, 0.36, 0], [0.93, -0.36, 0]])
    embeddings = np.vstack([np.repeat(moods, 20, axis=0), [[0, 0, 1], [0, 0, 1]]])
    numbers = np.arange(len(embeddings))
    pieces = Pieces(
        moments=numbers,
        tracks=np.zeros_like(numbers),
        bounds=np.stack([25 * numbers, 25 * numbers + 24], axis=1),
        weights_s=np.full(len(numbers), 0.5),
        embeddings=embeddings.astype(np.float32),
    )
    _, seconds = cluster_pieces(pieces, 2)
    assert sorted(seconds) == [1, 20]


@pytest.mark.parametrize("num_windows", [1, 5])
def test_in_silence_nobody_speaks(num_windows, embedder):
    silence = np.zeros(FRAMING.length + (num_windows - 1) * FRAMING.hop)
    found = find_order(windows_of(silence, silence), embedder)
    assert found.num_voices == 0


def test_the_first_voice_is_who_speaks_first(embedder):
    generator = np.random.default_rng(1)
    first = speak(generator, 110, 1.0, 20 * SAMPLE_RATE)
    second = speak(generator, 210, 1.2, 20 * SAMPLE_RATE)
    second[: 2 * SAMPLE_RATE] = 0
    windows = windows_of(second, first)
    found = find_order(windows, embedder)
    assert found.num_voices == 2
    assert {changes[0][1] for changes in found.changes} == {(1, 0)}
    assert found.confidence > 0.9


def take_turns(duration_s, pause_s=0.4):
    """Returns two tones that take turns of two seconds, with pauses, float64 [2, samples]."""
    time_s = np.arange(duration_s * SAMPLE_RATE) / SAMPLE_RATE
    turn, is_pause = (time_s // 2).astype(int) % 2, time_s % 2 > 2 - pause_s
    tones = [0.1 * np.sin(2 * np.pi * frequency_hz * time_s) for frequency_hz in (300, 1100)]
    return np.stack([np.where((turn == one) & ~is_pause, tones[one], 0) for one in (0, 1)])


class SpectralEmbedder:
    """Tells voices as different as these by their long-term spectrum, in pieces of any length."""

    def embed(self, pieces):
        frames = pieces[:, : pieces.shape[1] // 400 * 400].reshape(len(pieces), -1, 400)
        spectra = np.abs(np.fft.rfft(frames * np.hanning(400))).mean(axis=1)
        spectra = np.log(spectra + 1e-6)
        spectra -= spectra.mean(axis=1, keepdims=True)
        return (spectra / np.linalg.norm(spectra, axis=1, keepdims=True)).astype(np.float32)


def test_a_change_of_order_inside_a_window_is_found_in_the_pause():
    sources = take_turns(20)
    time_s = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    at_s = 11.8
    outputs = np.where(time_s < at_s, sources, sources[::-1])
    windows = windows_of(*outputs)
    found = find_order(windows, SpectralEmbedder())
    for number, (window, changes) in enumerate(zip(windows, found.changes, strict=True)):
        start = number * FRAMING.hop
        if not start + 1.5 * SAMPLE_RATE < at_s * SAMPLE_RATE < start + 2.5 * SAMPLE_RATE:
            # Too little is said on one side of the change to tell whose it is.
            continue
        wanted = sources[:, start : start + FRAMING.length, np.newaxis]
        arranged = arrange(window, changes, SAMPLE_RATE)
        np.testing.assert_allclose(arranged, wanted, atol=1e-6)
    assert found.num_changes >= 1


class WeakEmbedder(SpectralEmbedder):
    """Finds everybody alike."""

    def embed(self, pieces):
        embeddings = super().embed(pieces) + 0.04
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@pytest.mark.parametrize("pauses", [True, False])
def test_a_change_of_order_takes_less_evidence_after_a_pause_than_in_the_middle_of_speech(pauses):
    sources = take_turns(20, pause_s=0.4 if pauses else 0)
    windows = windows_of(sources.sum(axis=0), np.zeros(sources.shape[1]))
    assert (find_order(windows, WeakEmbedder()).num_changes > 0) == pauses


def test_people_who_take_turns_in_one_output_are_two_voices():
    sources = take_turns(20)
    windows = windows_of(sources.sum(axis=0), np.zeros(sources.shape[1]))
    found = find_order(windows, SpectralEmbedder())
    assert found.num_voices == 2
    for number, (window, changes) in enumerate(zip(windows, found.changes, strict=True)):
        wanted = sources[:, number * FRAMING.hop :][:, : FRAMING.length, np.newaxis]
        arranged = arrange(window, changes, SAMPLE_RATE)
        # What is dropped at the edges of a window may be anybody's.
        heard = slice(FRAMING.context, -FRAMING.context)
        np.testing.assert_allclose(arranged[:, heard], wanted[:, heard], atol=1e-6)


def test_a_track_goes_on_wherever_a_window_hands_over_in_the_middle_of_speech():
    rng = np.random.default_rng(0)
    sources = 0.1 * rng.standard_normal((3, 20 * SAMPLE_RATE)).astype(np.float32)
    swaps = [rng.permutation(3) for _ in windows_of(*sources)]
    orders = np.array(list(itertools.permutations(range(3))))
    with contextlib.closing(HeldWindows(SAMPLE_RATE)) as held:
        for window, swap in zip(windows_of(*sources), swaps, strict=True):
            held.add(window[swap])
        tracks = Tracks(held, FRAMING, orders, SAMPLE_RATE)
        audio = tracks.read(10, tracks.levels_db.shape[1] - 10).reshape(3, -1)
    wanted = sources[swaps[0], 10 * 160 :][:, : audio.shape[1]]
    np.testing.assert_allclose(audio, wanted, atol=1e-4)
    for swap, outputs in zip(swaps, tracks.outputs, strict=True):
        np.testing.assert_array_equal(swap[list(outputs)], swaps[0])


def test_an_order_fades_over_to_the_next():
    window = np.stack([np.ones((8000, 1)), -np.ones((8000, 1))]).astype(np.float32)
    arranged = arrange(window, ((0, (0, 1)), (10, (1, 0))), SAMPLE_RATE)
    assert (arranged[0, :1600] == 1).all()
    assert (arranged[0, 1760:] == -1).all()
    np.testing.assert_allclose(arranged.sum(axis=0), 0, atol=1e-6)
    assert np.abs(np.diff(arranged[0, :, 0])).max() < 0.02


def test_held_windows_come_back_within_a_step_of_16_bits_however_loud():
    generator = np.random.default_rng(0)
    windows = [
        (level * generator.standard_normal((2, 800, 1))).astype(np.float32)
        for level in (1e-4, 0.1, 3)
    ]
    with contextlib.closing(HeldWindows(SAMPLE_RATE)) as held:
        for window in windows:
            held.add(window)
        for window, again in zip(windows, held, strict=True):
            np.testing.assert_allclose(again, window, atol=np.abs(window).max() / 32767)
        levels_db = held.levels_db
    assert levels_db.shape == (3, 2, 5)
    np.testing.assert_allclose(levels_db.mean(axis=(1, 2)), [-80, -20, 9.5], atol=1)
