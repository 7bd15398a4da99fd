import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from schemas.pcm import MAX_PCM, MIN_PCM, to_pcm, to_samples

PCM = arrays(np.int16, array_shapes(min_dims=1, max_dims=3), elements=st.integers(-32768, 32767))


@given(PCM)
def test_pcm_is_the_same_after_it_was_floats(pcm):
    samples = to_samples(pcm)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1
    assert np.array_equal(to_pcm(samples), pcm)


@pytest.mark.parametrize(
    ("sample", "pcm"),
    [(0.0, 0), (0.5, 16384), (-1.0, MIN_PCM), (1.0, MAX_PCM), (7.0, MAX_PCM), (-7.0, MIN_PCM)],
)
def test_samples_beyond_full_scale_are_clipped(sample, pcm):
    assert to_pcm(np.float32([sample])).tolist() == [pcm]


def test_samples_are_rounded_and_left_as_they_were():
    samples = np.float32([0.4, 0.6, -0.4, -0.6]) / 32768
    before = samples.copy()
    assert to_pcm(samples).tolist() == [0, 1, 0, -1]
    assert np.array_equal(samples, before)
