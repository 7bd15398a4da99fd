import numpy as np
import pytest

from beam_jobs.separation.gate import Gate

FRAMES_A_SECOND = 50


def levels_db(*turns, duration_s=10):
    """The levels of two voices, -20 dBFS in their turns (voice, start, stop)."""
    levels = np.full((2, duration_s * FRAMES_A_SECOND), -100, np.float32)
    for voice, start_s, stop_s in turns:
        levels[voice, start_s * FRAMES_A_SECOND : stop_s * FRAMES_A_SECOND] = -20
    return levels


def gains(levels, sample_rate=8000, block_length=1234):
    gate = Gate(levels, sample_rate)
    ones = np.ones((2, 10 * sample_rate, 1), np.float32)
    blocks = np.split(ones, range(block_length, ones.shape[1], block_length), axis=1)
    return np.concatenate([gate.apply(block) for block in blocks], axis=1)[..., 0]


def test_a_voice_is_untouched_where_it_speaks_and_silent_elsewhere():
    first, second = gains(levels_db((0, 2, 4), (1, 5, 8)))
    assert (first[2 * 8000 : 4 * 8000] == 1).all()
    assert (second[5 * 8000 : 8 * 8000] == 1).all()
    for voice, (start_s, stop_s) in ((first, (2, 4)), (second, (5, 8))):
        assert not voice[: round((start_s - 0.15) * 8000)].any()
        assert not voice[round((stop_s + 0.15) * 8000) :].any()


def test_it_opens_and_shuts_in_20_ms():
    first, _ = gains(levels_db((0, 2, 4)))
    assert np.abs(np.diff(first)).max() == pytest.approx(1 / 160, abs=1e-4)
    assert ((first > 0) & (first < 1)).sum() == pytest.approx(2 * 160, abs=4)


def test_who_speaks_from_the_first_sample_to_the_last_is_untouched_and_who_never_does_is_silent():
    first, second = gains(levels_db((0, 0, 10)))
    assert (first == 1).all()
    assert not second.any()


def test_a_gate_does_not_depend_on_the_blocks_and_has_no_drift_at_any_rate():
    levels = levels_db((0, 2, 4), (0, 9, 10), (1, 5, 8))
    np.testing.assert_array_equal(gains(levels), gains(levels, block_length=30_000))
    # A frame of 20 ms is 220 samples at this rate, and the levels are those of such frames.
    first, _ = gains(levels, sample_rate=11025)
    opened = np.flatnonzero(np.diff((first == 1).astype(int)) == 1)
    assert (opened / 11025).tolist() == pytest.approx(
        [(100 * 220) / 11025 - 0.1, (450 * 220) / 11025 - 0.1], abs=1e-3
    )
