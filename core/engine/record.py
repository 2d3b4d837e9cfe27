"""Losses of a few steps. They stay on the device until they are read together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from ..protocols import Loss
from .inputs.captions import Numbers


@dataclass(frozen=True)
class ReadLosses:
    """Means over the steps of a record: each named loss, and their weighted sum. The gradient norm is the last one."""

    total: float
    named: Mapping[str, float]
    grad_norm: float


class Record:
    """Losses, gradient norms and rows of a few steps."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._losses: list[Mapping[str, Loss]] = []
        self._norms: list[Tensor] = []
        self._counts: list[Mapping[str, int]] = []
        self._steps: list[Numbers] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Numbers, losses: Mapping[str, Loss], norm: Tensor, counts: Mapping[str, int]) -> None:
        """Adds a step: its summed losses, its gradient norm, and its numbers of tokens and rows."""
        self._steps.append(step)
        self._losses.append(losses)
        self._norms.append(norm)
        self._counts.append(counts)

    @property
    def num_rows(self) -> int:
        """The number of captions, or images, in all steps."""
        return sum(counts["row"] for counts in self._counts)

    @property
    def num_tokens(self) -> int:
        """The number of target tokens in all steps."""
        return sum(counts["token"] for counts in self._counts)

    def seconds(self) -> float:
        """The time since the record began."""
        return max(time.perf_counter() - self._started, 1e-9)

    def read(self, fail: Callable[[str, int, Numbers], NoReturn]) -> ReadLosses:
        """Waits for the device. Calls `fail("loss" or "gradient", place, rows)` at the first value that is not finite."""
        names = list(self._losses[0])
        flat = [torch.stack([losses[name].sum for name in names]) for losses in self._losses]
        sums: list[list[float]] = torch.stack(flat).tolist()  # (steps, losses)
        norms: list[float] = torch.stack(self._norms).tolist()
        for number, (values, norm, step) in enumerate(zip(sums, norms, self._steps, strict=True)):
            if not (all(map(math.isfinite, values)) and math.isfinite(norm)):
                fail("gradient" if all(map(math.isfinite, values)) else "loss", number, step)
        named, total = {}, 0.0
        for place, name in enumerate(names):
            loss = self._losses[0][name]
            denominator = sum(counts[loss.per] for counts in self._counts)
            named[name] = sum(values[place] for values in sums) / denominator
            total += loss.weight * named[name]
        return ReadLosses(total, named, norms[-1])
