"""Compares groups of runs: an interval and a p-value that cover the choice of the images and that of the seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..resampling import CONFIDENCE, Array, Interval


@dataclass(frozen=True)
class Group:
    """One score of the runs of a system: corpus values (runs,), and the same resampled (runs, resamples)."""

    values: Array
    resampled: Array

    @property
    def variance_between(self) -> float:
        """The variance of the mean that comes from the runs; 0 for a single run."""
        return float(self.values.var(ddof=1)) / len(self.values) if len(self.values) > 1 else 0.0


def estimate(group: Group, against: Group | None, num_images: int) -> tuple[Interval, float]:
    """Returns a 95 % interval for the mean of a group, or for its difference from another, and the p-value of 0.

    The variance has a part for the images, that of the resampled values with all runs fixed, and a part for the runs of
    each group, the variance between its runs divided by their number. The degrees of freedom are Welch's and
    Satterthwaite's, and the quantiles Student's.
    """
    value, resampled = float(group.values.mean()), group.resampled.mean(0)
    groups = [group]
    if against is not None:
        value, resampled = value - float(against.values.mean()), resampled - against.resampled.mean(0)
        groups.append(against)
    parts = [(float(resampled.var(ddof=1)), num_images - 1)]
    parts += [(each.variance_between, len(each.values) - 1) for each in groups if len(each.values) > 1]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(value, value), 1.0 if value == 0 else 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(variance)
    half = student_quantile(CONFIDENCE, freedom) * error
    return Interval(value - half, value + half), 1 - student_share(abs(value) / error, freedom)


def student_share(t: float, freedom: float) -> float:
    """Returns the share of Student's distribution between -t and t."""
    angles, shares = _central_shares(freedom)
    return float(np.interp(np.arctan(t / math.sqrt(freedom)), angles, shares))


def student_quantile(share: float, freedom: float) -> float:
    """Returns the t between whose negative and itself lies this share of Student's distribution."""
    angles, shares = _central_shares(freedom)
    return float(np.tan(np.interp(share, shares, angles)) * np.sqrt(freedom))


def _central_shares(freedom: float) -> tuple[Array, Array]:
    """Returns angles, and the share between -t and t, with t = sqrt(freedom) * tan(angle).

    In this angle, the density of Student's distribution is cos(angle) ** (freedom - 1) but for a constant.
    """
    angles = _angles()
    density = np.cos(angles) ** (freedom - 1)
    areas = np.concatenate([[0.0], np.cumsum(np.diff(angles) * (density[1:] + density[:-1]) / 2)])
    return angles, areas / areas[-1]


@cache
def _angles() -> Array:
    """Returns angles from 0 to a right one, finer where the tangent is steep."""
    right = np.pi / 2
    return np.union1d(np.linspace(0, right, 20_000), right * (1 - np.logspace(0, -12, 20_000)))
