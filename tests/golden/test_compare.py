"""Comparisons fail when they should."""

import numpy as np
import pytest

from golden.parity import Parity

EXPECTED = np.zeros(100)


def compare(actual, **options):
    found = []
    parity = Parity(lambda _, row: found.append(row))
    parity.compare("funcs/made", "entry", actual, EXPECTED, tolerance=0.1, **options)
    return found


def test_within_the_tolerance_passes_and_is_remembered():
    assert len(compare(EXPECTED + 0.05)) == 1


@pytest.mark.parametrize("wrong", [0.2, np.nan, np.inf])
def test_one_value_beyond_the_tolerance_fails(wrong):
    actual = EXPECTED.copy()
    actual[3] = wrong
    with pytest.raises(AssertionError, match="entry"):
        compare(actual)


def test_outliers_have_a_tolerance_of_their_own():
    actual = EXPECTED.copy()
    actual[3] = 0.4
    compare(actual, outliers=0.01, outlier_tolerance=0.5)
    with pytest.raises(AssertionError, match="outlier"):
        compare(actual, outliers=0.01, outlier_tolerance=0.3)
    with pytest.raises(AssertionError, match="off by"):
        compare(np.where(np.arange(100) < 2, 0.4, actual), outliers=0.01, outlier_tolerance=0.5)


def test_shapes_must_agree():
    with pytest.raises(AssertionError, match=r"\(99,\) != \(100,\)"):
        compare(EXPECTED[:99])
