"""The mean of a score over seeds, with an interval from Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..comparing.groups import student_quantile
from ..resampling import CONFIDENCE


@dataclass(frozen=True)
class Mean:
    """The mean of the values of some seeds. Its 95 % interval goes from `low` to `high`; None for a single value.

    The interval is mean ± t * s / sqrt(n), with the standard deviation s of the n values and Student's t for n - 1 degrees
    of freedom. It covers the choice of the seed, not the choice of the images.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """The mean of one value or more."""
        mean = sum(values) / len(values)
        if len(values) < 2:
            return cls(mean, None, None, tuple(values))
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        half = student_quantile(CONFIDENCE, len(values) - 1) * math.sqrt(variance / len(values))
        return cls(mean, mean - half, mean + half, tuple(values))

    def __str__(self) -> str:
        half = "" if self.high is None else f" ± {self.high - self.mean:.4f}"
        return f"{self.mean:.4f}{half}"
