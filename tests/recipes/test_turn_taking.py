"""What is measured of a conversation, against conversations whose measures are plain to see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.recipes.turn_taking import find_dominance, share_of_three, turn_changes
from beam_jobs.separation.turns import Turn

TURNS = st.lists(
    st.builds(Turn, st.sampled_from("abcd"), st.floats(0, 60), st.floats(0.1, 20)), max_size=20
)


def said(*turns):
    """The turns (speaker, onset, end), in seconds."""
    return [Turn(speaker, start, stop - start) for speaker, start, stop in turns]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (said(("a", 0, 2), ("a", 3, 4)), [("pause_s", 1)]),
        (said(("a", 0, 2), ("b", 3, 4)), [("gap_s", 1)]),
        (said(("a", 0, 2), ("b", 1.5, 4)), [("turn_overlap_s", 0.5)]),
        # Who says something short does not take the floor.
        (
            said(("a", 0, 4), ("b", 1, 1.5), ("a", 5, 6)),
            [("backchannel_s", 0.5), ("pause_s", 1)],
        ),
        (said(("a", 0, 4), ("b", 0, 1)), [("backchannel_s", 1)]),
        (said(("b", 3, 4), ("a", 0, 2)), [("gap_s", 1)]),
        (said(("a", 0, 1)), []),
        ([], []),
    ],
)
def test_turns_begin_with_a_pause_a_gap_an_overlap_or_inside_another(turns, expected):
    assert turn_changes(turns) == [(kind, pytest.approx(length_s)) for kind, length_s in expected]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (said(("a", 0, 2), ("b", 2, 4)), 0),
        (said(("a", 0, 2), ("b", 2, 4), ("c", 0, 2)), 0),
        # Shares of 3/4 and 1/4: 2 * (9 + 1) / 16 - 1.
        (said(("a", 0, 1), ("b", 2, 3), ("a", 4, 6)), 0.25),
        (said(("a", 0, 100), ("b", 0, 0.001)), 1),
        (said(("a", 0, 2)), 0),
    ],
)
def test_dominance_is_0_of_equals_and_1_of_one_alone(turns, expected):
    assert find_dominance(turns) == pytest.approx(expected, abs=1e-4)


def test_three_at_once_is_a_share_of_the_time_in_which_anyone_speaks():
    turns = said(("a", 0, 10), ("b", 2, 6), ("c", 4, 12), ("a", 13, 21))
    assert share_of_three(turns) == pytest.approx(2 / 20)


@given(TURNS)
def test_each_turn_but_the_first_begins_somehow(turns):
    changes = turn_changes(turns)
    assert len(changes) == max(len(turns) - 1, 0)
    assert all(length_s >= 0 for _, length_s in changes)
    assert 0 <= find_dominance(turns) <= 1
    assert 0 <= share_of_three(turns) <= 1
