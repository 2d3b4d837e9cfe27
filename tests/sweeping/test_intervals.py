"""The mean of a score over seeds and its interval, against arithmetic written out here."""

from __future__ import annotations

import math

import pytest

from capfw.core.sweeping.intervals import Mean


def test_interval_of_three_values() -> None:
    # Student's t for 2 degrees of freedom is 4.302653 (NIST/SEMATECH e-Handbook, 1.3.6.7.2: 4.303).
    mean = Mean.of([1.0, 2.0, 6.0])  # deviations -2, -1, 3: s = sqrt(14 / 2), and s / sqrt(3) = 1.527525
    assert mean.mean == 3.0
    assert (mean.low, mean.high) == pytest.approx((3 - 4.302653 * 1.527525, 3 + 4.302653 * 1.527525), rel=1e-6)
    assert str(mean) == "3.0000 ± 6.5724"


def test_one_value_has_no_interval_and_no_number_stays_none() -> None:
    assert (Mean.of([0.5]).low, str(Mean.of([0.5]))) == (None, "0.5000")
    assert math.isnan(Mean.of([math.nan, 1.0]).mean)
