import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.metrics import (
    Block,
    ideal_ratio_mask,
    measure,
    si_sdr_db,
    source_levels_db,
)


def noise(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def test_si_sdr_of_a_source_with_noise_is_their_ratio_whatever_the_scale() -> None:
    source = noise(1, 8000)
    disturbance = noise(1, 8000, seed=1)
    disturbance -= (disturbance @ source.T) / (source @ source.T) * source
    disturbance *= np.linalg.norm(source) / np.linalg.norm(disturbance) / 10
    assert si_sdr_db(5 * (source + disturbance), source)[0, 0] == pytest.approx(20, abs=1e-3)


def test_outputs_are_put_into_the_order_of_the_sources() -> None:
    sources = noise(3, 8000)
    measures, order = measure(Block(sources[[2, 0, 1]], sources, sources.sum(axis=0)).alone, 8000)
    assert order == (1, 2, 0)
    assert measures["si_sdri_db"] > 60


def test_the_level_of_a_source_does_not_count_its_silence() -> None:
    sources = noise(2, 8000)
    sources[1, 4000:] = 0
    assert np.ptp(source_levels_db([sources])) == pytest.approx(0, abs=0.3)
    sources[0] *= 2
    assert np.ptp(source_levels_db([sources])) == pytest.approx(6, abs=0.3)


def test_a_source_that_is_silent_in_all_blocks_has_no_level() -> None:
    sources = noise(2, 8000)
    sources[1] = 0
    levels_db = source_levels_db([sources[:, :100], sources[:, 100:]])
    assert levels_db[0] == pytest.approx(-20, abs=0.3)
    assert levels_db[1] == -np.inf


def test_the_ideal_ratio_mask_separates_what_does_not_overlap_in_frequency() -> None:
    time_s = np.arange(9001) / 8000
    sources = np.sin(2 * np.pi * np.array([[500], [1500]]) * time_s).astype(np.float32)
    separated = ideal_ratio_mask(sources, sources.sum(axis=0), 8000)
    assert separated.shape == sources.shape
    assert np.diag(si_sdr_db(separated, sources)).min() > 25


@given(num_blocks=st.integers(1, 7))
def test_si_sdr_does_not_depend_on_the_blocks(num_blocks: int) -> None:
    sources, disturbance = noise(2, 4000), noise(2, 4000, seed=1)
    sources[0, :2000] = 0
    mixture = sources.sum(axis=0)
    estimates = (sources + 0.3 * disturbance)[::-1]
    whole, order = measure(Block(estimates, sources, mixture).alone, 8000)
    cuts = np.linspace(0, 4000, num_blocks + 1).astype(int)
    blocks = [
        Block(estimates[:, start:stop], sources[:, start:stop], mixture[start:stop])
        for start, stop in itertools.pairwise(cuts)
    ]
    in_blocks, same_order = measure(lambda: blocks, 8000)
    assert order == same_order == (1, 0)
    for name in ("si_sdr_db", "si_sdri_db"):
        assert in_blocks[name] == pytest.approx(whole[name], abs=1e-6)


def test_an_output_for_nobody_is_measured_by_what_is_left_in_it() -> None:
    sources = noise(3, 8000)
    sources[1] = 0
    mixture = sources.sum(axis=0)
    outputs = sources[[2, 0, 1]] + 0.01 * noise(3, 8000, seed=1)
    outputs[2] = 0.1 * mixture
    measures, order = measure(Block(outputs, sources, mixture).alone, 8000)
    assert order == (1, 2, 0)
    assert measures["residual_db"] == pytest.approx(-20, abs=1e-3)
    # All else is that of the others.
    heard = [0, 2]
    alone, _ = measure(Block(outputs[:2], sources[heard], mixture).alone, 8000)
    assert {name: measures[name] for name in alone} == pytest.approx(alone)
    assert set(measures) == {*alone, "residual_db"}


def test_the_si_sdr_of_one_alone_is_not_mixed_with_that_of_several() -> None:
    sources = noise(2, 8000)
    sources[0] = 0
    measures, order = measure(Block(sources[::-1], sources, sources[1]).alone, 8000)
    assert order == (1, 0)
    assert measures["single_si_sdr_db"] > 60
    assert measures["residual_db"] < -90
    assert set(measures) == {"single_si_sdr_db", "residual_db"}


def test_where_everybody_is_silent_only_what_is_left_is_measured() -> None:
    measures, _ = measure(Block(noise(2, 80), 0 * noise(2, 80), noise(80)).alone, 8000)
    assert set(measures) == {"residual_db"}


def test_a_block_in_which_a_source_is_silent_is_measured_by_si_sdr_alone() -> None:
    sources = noise(2, 8000)
    silent = np.array([[1], [0]], np.float32) * sources
    blocks = [Block(one, one, one.sum(axis=0)) for one in (sources, silent)]
    measures, _ = measure(lambda: blocks, 8000)
    only_first, _ = measure(blocks[0].alone, 8000)
    assert set(measures) == set(only_first)
    assert measures["si_sdri_db"] > 60


def test_a_silent_output_is_counted_and_everything_else_measured_without_it() -> None:
    sources = noise(2, 8000)
    mixture = sources.sum(axis=0)
    measures, order = measure(Block(np.stack([0 * mixture, mixture]), sources, mixture).alone, 8000)
    assert measures["silent_outputs"] == 1
    assert measures["si_sdri_db"] == pytest.approx(0)
    heard = sources[[order.index(1)]]
    assert measures["si_sdr_db"] == pytest.approx(si_sdr_db(mixture[np.newaxis], heard)[0, 0])
    pytest.importorskip("fast_bss_eval", reason="the SDR takes the extra tensorflow")
    assert measures["sdr_db"] == pytest.approx(0, abs=1)


def test_a_block_in_which_an_output_is_silent_leaves_no_infinite_mean() -> None:
    sources = noise(2, 8000)
    gated = np.array([[1], [0]], np.float32) * sources
    blocks = [Block(one, sources, sources.sum(axis=0)) for one in (sources, gated)]
    measures, _ = measure(lambda: blocks, 8000)
    assert np.isfinite(list(measures.values())).all()
    assert "silent_outputs" not in measures


def test_of_a_mixture_whose_outputs_are_all_silent_only_these_are_counted() -> None:
    sources = noise(2, 8000)
    measures, _ = measure(Block(0 * sources, sources, sources.sum(axis=0)).alone, 8000)
    assert measures == {"silent_outputs": 2}
