import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recipe import Recipe, Source, overlap_ratio

INTERVALS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: tuple(sorted(ends))),
    max_size=8,
)


def source(offset_s, duration_s):
    return Source(
        "u",
        "corpus",
        "u.wav",
        "anna",
        "f",
        0,
        round(8000 * duration_s),
        8000,
        offset_s,
        "gain_db",
        0.0,
    )


def recipe(*sources, duration_s):
    return Recipe("train-000000000", "train", 8000, duration_s, "average", sources)


@pytest.mark.parametrize(
    ("intervals_s", "expected"),
    [
        ([(0, 4), (4, 8)], 0.0),
        ([(0, 4), (0, 4)], 1.0),
        ([(0, 4), (2, 6)], 1 / 3),
        ([(0, 6), (1, 2), (1, 3)], 1 / 3),
        ([(0, 1), (3, 4)], 0.0),
    ],
)
def test_overlap_is_the_part_of_speech_in_which_two_speak(intervals_s, expected):
    assert overlap_ratio(intervals_s) == pytest.approx(expected)


@given(INTERVALS)
def test_overlap_is_what_counting_each_second_gives(intervals):
    num_active = [sum(start <= now < stop for start, stop in intervals) for now in range(60)]
    spoken = sum(num > 0 for num in num_active)
    overlapped = sum(num > 1 for num in num_active)
    assert overlap_ratio(intervals) == pytest.approx(overlapped / spoken if spoken else 0)


@given(INTERVALS, st.randoms(use_true_random=False))
def test_overlap_does_not_depend_on_the_order_of_the_sources(intervals, random):
    shuffled = random.sample(intervals, len(intervals))
    assert overlap_ratio(shuffled) == overlap_ratio(intervals)


def test_silence_in_a_mixture_does_not_count_for_its_overlap():
    assert recipe(source(1, 2), source(2, 2), duration_s=10).overlap_ratio == pytest.approx(1 / 3)


def test_what_a_mixture_cuts_off_does_not_count_for_its_overlap():
    whole = recipe(source(0, 4), source(2, 4), source(5, 1), duration_s=6)
    assert whole.overlap_ratio == pytest.approx(3 / 6)
    assert dataclasses.replace(whole, duration_s=4).overlap_ratio == pytest.approx(2 / 4)
