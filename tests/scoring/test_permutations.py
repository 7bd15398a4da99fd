import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.permutations import best_permutation


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(-50, 50), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_the_best_permutation_is_the_best(scores: list[list[float]]) -> None:
    table = np.array(scores)
    slots = range(len(table))
    order, margin = best_permutation(table)
    totals = sorted(table[list(other), slots].sum() for other in itertools.permutations(slots))
    assert sorted(order) == list(slots)
    assert table[list(order), slots].sum() == pytest.approx(totals[-1])
    assert margin == pytest.approx(totals[-1] - totals[-2] if len(totals) > 1 else 0)


@given(st.permutations(range(10)))
def test_the_best_order_puts_each_output_where_it_fits(order: list[int]) -> None:
    scores = np.zeros((10, 10))
    for place, output in enumerate(order):
        scores[output, place] = 1
    found, margin = best_permutation(scores)
    assert list(found) == order
    # The next best permutation exchanges two of them.
    assert margin == pytest.approx(2)


def test_one_output_needs_no_margin() -> None:
    assert best_permutation(np.ones((1, 1))) == ((0,), 0.0)
