"""The curves of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .history import History

_MOST_POINTS = 400


@dataclass(frozen=True)
class Curve:
    """A curve: y by x, finite values only. `best` is the x of the best checkpoint, if it is one of them."""

    title: str
    x: str
    y: str
    points: Sequence[tuple[int, float]]
    best: int | None = None


def curves_of(history: History, best_step: int | None, loss_unit: str) -> list[Curve]:
    """The training loss by step, each of several named losses, and by epoch the validation loss and the scores of val."""
    best = next((epoch.number for epoch in history.epochs if epoch.step is not None and epoch.step == best_step), None)
    val_losses = {epoch.number: epoch.val_loss for epoch in history.epochs if epoch.val_loss is not None}
    found = [
        _by_step("Training loss", history.total, loss_unit),
        _curve("Validation loss", "epoch", "nats per token", val_losses, best),
    ]
    if len(history.losses) > 1:
        found += [_by_step(f"Training loss {name}", values, loss_unit) for name, values in history.losses.items()]
    for name in history.score_names:
        values = {epoch.number: epoch.scores[name] for epoch in history.epochs if name in epoch.scores}
        found.append(_curve(f"{name} of split val", "epoch", "score", values, best))
    return [curve for curve in found if curve.points]


def means(values: Mapping[int, float], most: int) -> tuple[dict[int, float], int]:
    """At most `most` values: each is the mean of n neighbours, at the last of their places. Returns n as well."""
    places = sorted(values)
    n = math.ceil(len(places) / most) or 1
    groups = [places[start : start + n] for start in range(0, len(places), n)]
    return {group[-1]: math.fsum(values[at] for at in group) / len(group) for group in groups}, n


def _by_step(title: str, values: Mapping[int, float], unit: str) -> Curve:
    thinned, n = means(values, _MOST_POINTS)
    return _curve(title, "step", f"{unit}; means of {n} log lines" if n > 1 else unit, thinned, None)


def _curve(title: str, x: str, y: str, values: Mapping[int, float], best: int | None) -> Curve:
    return Curve(title, x, y, [(at, values[at]) for at in sorted(values) if math.isfinite(values[at])], best)
