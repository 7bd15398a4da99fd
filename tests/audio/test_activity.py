import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.audio.activity import find_active, find_stretches, frame_levels_db


def test_levels_are_those_of_whole_frames():
    signals = np.repeat(np.float32([[0.1], [0.01], [0.0]]), 40, axis=1)
    levels_db = frame_levels_db(signals, 16)
    assert levels_db.dtype == np.float32
    assert levels_db == pytest.approx(np.repeat([[-20.0], [-40.0], [-120.0]], 2, axis=1), abs=0.01)


def test_silence_and_what_is_far_below_loud_speech_is_not_heard():
    levels_db = np.float32([[-20] * 40 + [-49, -51, -90]])
    assert find_active(levels_db).tolist() == [[True] * 41 + [False] * 2]
    assert not find_active(np.float32([[-61, -62, -90, -120]])).any()


def test_what_leaks_from_a_louder_source_is_not_heard():
    levels_db = np.float32([[-20, -20, -90], [-31, -33, -33]])
    assert find_active(levels_db).tolist() == [[True, True, False], [True, False, True]]


def test_nothing_is_heard_in_no_frames():
    assert find_active(np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert find_stretches(np.zeros(0, np.bool_)) == []


def test_pauses_are_bridged_and_clicks_dropped():
    active = np.zeros(100, np.bool_)
    active[[*range(10, 20), *range(34, 40), *range(60, 64)]] = True
    assert find_stretches(active) == [(10, 40)]


@given(st.lists(st.booleans(), max_size=200))
def test_stretches_are_apart_and_in_order(active):
    stretches = find_stretches(np.array(active, bool))
    bounds = [bound for stretch in stretches for bound in stretch]
    assert bounds == sorted(bounds)
    assert all(stop - start >= 5 for start, stop in stretches)
    assert all(after[0] - before[1] >= 15 for before, after in itertools.pairwise(stretches))
