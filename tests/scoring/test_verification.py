import math

import numpy as np
import pytest

from scoring.verification import equal_error_rate


def test_no_error_where_a_threshold_tells_them_all():
    assert equal_error_rate(np.array([0.7, 0.9]), np.array([0.1, 0.5])) == 0


def test_half_is_wrong_where_scores_say_nothing():
    scores = np.linspace(0, 1, 1000)
    assert equal_error_rate(scores, scores) == pytest.approx(0.5, abs=0.01)


def test_the_rate_is_that_of_both_errors_where_they_meet():
    same, different = np.array([0.2, 0.6, 0.7, 0.8]), np.array([0.1, 0.3, 0.4, 0.65])
    assert equal_error_rate(same, different) == pytest.approx(0.25)


def test_without_pairs_of_one_kind_there_is_no_rate():
    assert math.isnan(equal_error_rate(np.array([]), np.array([0.5])))
