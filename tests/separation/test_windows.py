import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.separation.windows import (
    OverlapAdd,
    crossfade_framing,
    cut_windows,
    spleeter_framing,
)

FRAMINGS = [
    crossfade_framing(64, 0, aligned=True),
    crossfade_framing(64, 10, aligned=True),
    crossfade_framing(65, 7, aligned=False),
    crossfade_framing(3, 1, aligned=False),
]


def _blocks(signal, sizes):
    start = 0
    while start < len(signal):
        size = sizes[start % len(sizes)]
        yield signal[start : start + size]
        start += size


@given(
    framing=st.sampled_from(FRAMINGS),
    num_samples=st.integers(1, 500),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
def test_windows_that_a_model_does_not_change_join_to_the_signal(framing, num_samples, sizes):
    signal = np.random.default_rng(0).standard_normal((num_samples, 2)).astype(np.float32)
    join = OverlapAdd(framing, num_samples)
    windows = list(cut_windows(_blocks(signal, sizes), num_samples, framing))
    assert len(windows) == framing.num_windows(num_samples)
    assert all(len(window) == framing.length for window in windows)
    joined = np.concatenate([join.add(window[np.newaxis])[0] for window in windows])
    np.testing.assert_allclose(joined, signal, atol=1e-6)


@given(num_samples=st.integers(1, 500))
def test_windows_hold_the_frames_that_spleeter_cuts(num_samples):
    frame_length, step, num_frames = 16, 4, 5
    framing = spleeter_framing(frame_length, step, num_frames)
    signal = np.arange(1, num_samples + 1, dtype=np.float32)[:, np.newaxis]
    padded = np.pad(signal[:, 0], (frame_length, 2 * framing.length))
    num_spleeter_frames = -(-(frame_length + num_samples) // step)
    windows = list(cut_windows([signal], num_samples, framing))
    frames = [
        window[start : start + frame_length, 0]
        for window in windows
        for start in range(0, num_frames * step, step)
    ]
    assert len(frames) == -(-num_spleeter_frames // num_frames) * num_frames
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, padded[index * step :][:frame_length])


def test_the_context_of_a_window_is_not_heard():
    framing = crossfade_framing(64, 10, aligned=True)
    join = OverlapAdd(framing, 300)
    num_windows = framing.num_windows(300)
    joined = []
    for index in range(num_windows):
        output = np.ones((1, 64, 1), np.float32)
        if index > 0:
            output[:, :10] = 99
        if index < num_windows - 1:
            output[:, -10:] = 99
        joined.append(join.add(output))
    np.testing.assert_allclose(np.concatenate(joined, axis=1), 1, atol=1e-6)
