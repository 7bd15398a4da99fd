import numpy as np
import pytest
import scipy.signal

from beam_jobs.separation.voices import Aligner
from beam_jobs.separation.windows import crossfade_framing
from scoring.permutations import best_permutation

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


class PlainCorrelation:
    """Aligns by the normalised correlation of the overlap alone."""

    def __init__(self):
        self._before = None

    def align(self, output):
        now = output[:, FRAMING.overlap, 0]
        if self._before is not None:
            order, _ = best_permutation(np.corrcoef(now, self._before)[: len(now), len(now) :])
            output = output[list(order)]
        self._before = output[:, FRAMING.overlap_before, 0]
        return [output]

    def flush(self):
        return []


def count_swaps(rng, sources, aligner):
    """Counts how often a speaker changes outputs between two windows with speech."""
    windows = list(outputs_of_a_joint_model(rng, sources))
    aligned = [one for outputs, _, _ in windows for one in aligner.align(outputs)]
    aligned += aligner.flush()
    speakers_at_first = [
        order[next(place for place, one in enumerate(outputs) if np.array_equal(one, ordered[0]))]
        for (outputs, order, speech), ordered in zip(windows, aligned, strict=True)
        if speech
    ]
    return np.count_nonzero(np.diff(speakers_at_first))


@pytest.mark.parametrize(
    ("speakers", "largest_share"),
    [(((110, 1.0), (200, 1.18)), 0.1), (((110, 1.0), (135, 1.08)), 0.2)],
    ids=["unlike", "alike"],
)
def test_speakers_keep_their_outputs_over_half_an_hour_with_long_pauses(speakers, largest_share):
    sources = converse(np.random.default_rng(3), 30 * 60, speakers)
    plain = count_swaps(np.random.default_rng(4), sources, PlainCorrelation())
    aligner = Aligner(FRAMING, SAMPLE_RATE)
    swaps = count_swaps(np.random.default_rng(4), sources, aligner)
    print(f"{swaps} swaps, by correlation alone {plain}; {aligner.summary()}")
    assert plain >= 50
    assert swaps <= largest_share * plain


def test_the_order_is_kept_where_neither_overlap_nor_spectrum_decides():
    aligner = Aligner(FRAMING, SAMPLE_RATE)
    silence = np.zeros((2, FRAMING.length, 1), np.float32)
    aligned = [one for _ in range(3) for one in aligner.align(silence)] + aligner.flush()
    assert len(aligned) == 3
    assert aligner.decisions == ["kept", "kept"]
    summary = aligner.summary()
    assert (summary.kept, summary.min_overlap_margin) == (2, None)


def test_the_margin_of_a_clear_overlap_is_large():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, FRAMING.length + FRAMING.hop, 1)).astype(np.float32) * 0.1
    aligner = Aligner(FRAMING, SAMPLE_RATE)
    aligner.align(signal[:, : FRAMING.length])
    (aligned,) = aligner.align(signal[::-1, FRAMING.hop :])
    np.testing.assert_array_equal(aligned, signal[:, FRAMING.hop :])
    assert aligner.decisions == ["overlap"]
    assert aligner.summary().min_overlap_margin > 0.9
