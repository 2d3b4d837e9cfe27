"""The mean of a score over seeds, with an interval from Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


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
        half = student_t(len(values) - 1) * math.sqrt(variance / len(values))
        return cls(mean, mean - half, mean + half, tuple(values))

    def __str__(self) -> str:
        half = "" if self.high is None else f" ± {self.high - self.mean:.4f}"
        return f"{self.mean:.4f}{half}"


def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The number t such that a value of Student's t distribution lies within ± t with probability `confidence`."""
    low, high = 0.0, 1.0
    while _share_within(high, degrees) < confidence:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_within(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def _share_within(t: float, degrees: int) -> float:
    """The probability of a value within ± t, as a finite sum (Abramowitz and Stegun, 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = 0.0
    for k in range(3 if is_odd else 2, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
