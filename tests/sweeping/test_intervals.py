"""Student's t, and the interval of a mean: against the published table and against arithmetic written out here."""

from __future__ import annotations

import math

import pytest

from capfw.core.sweeping.intervals import Mean, student_t

# The 97.5 % points of Student's t: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
TABLE = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    9: 2.262,
    10: 2.228,
    29: 2.045,
    30: 2.042,
    100: 1.984,
}


@pytest.mark.parametrize(("degrees", "expected"), TABLE.items())
def test_student_t_equals_the_published_table(degrees: int, expected: float) -> None:
    assert round(student_t(degrees), 3) == expected


def test_one_degree_of_freedom_is_the_cauchy_distribution() -> None:
    assert student_t(1, 0.9) == pytest.approx(math.tan(math.pi * 0.45), rel=1e-12)


def test_interval_of_three_values() -> None:
    mean = Mean.of([1.0, 2.0, 6.0])  # deviations -2, -1, 3: s = sqrt(14 / 2), and s / sqrt(3) = 1.527525
    assert mean.mean == 3.0
    assert (mean.low, mean.high) == pytest.approx((3 - 4.302653 * 1.527525, 3 + 4.302653 * 1.527525), rel=1e-6)
    assert str(mean) == "3.0000 ± 6.5724"


def test_one_value_has_no_interval_and_no_number_stays_none() -> None:
    assert (Mean.of([0.5]).low, str(Mean.of([0.5]))) == (None, "0.5000")
    assert math.isnan(Mean.of([math.nan, 1.0]).mean)
