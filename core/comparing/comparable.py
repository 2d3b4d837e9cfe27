"""Checks that systems can be compared: the same images and references, and the same way of scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError, listed
from .systems import Scored

_FIX = "Evaluate both on the same data. Or score both against one file: add --references FILE."


def require_comparable(first: Scored, other: Scored) -> None:
    """Raises `DataError` where two runs have different images or references, naming the difference."""
    if alone := [
        *(i for i in first.ids if i not in other.candidates),
        *(i for i in other.ids if i not in first.candidates),
    ]:
        what = f"{other.name} has other images than {first.name}"
        fix = "Give all systems candidates for the same images." if first.is_rescored else _FIX
        raise DataError(f"{what}; only one of them has {listed(list(map(repr, alone)), 5)}.", fix=fix)
    if first.is_rescored:
        return
    ours, theirs = first.signature["data"], other.signature["data"]
    if ours == theirs:
        return
    counts = [f"{ours[key]} and {theirs[key]} {key}" for key in ("images", "captions") if ours[key] != theirs[key]]
    how = ", ".join(counts) or "as many captions, but other texts, or other names of the image files"
    raise DataError(f"{other.name} was scored against other references than {first.name}: {how}.", fix=_FIX)


def differences_of(first: Scored, other: Scored) -> list[str]:
    """Returns a notice for each difference in metrics, generation and versions; the scores may still be compared."""
    found, pair = [], f"{first.name} and {other.name}"
    for ours, theirs in _metrics_of_both(first, other):
        names = ", ".join(map(str, ours["scores"]))
        found += [
            f"{names}: {fact} differs between {pair}: {change}. Do not trust the difference of these scores."
            for fact, change in _changes(ours, theirs)
        ]
    for fact, words in (("generate", "generation"), ("versions", "versions")):
        changes = _changes(first.signature.get(fact, {}), other.signature.get(fact, {}))
        if changes:
            each = "; ".join(f"{name} {change}" for name, change in changes)
            found.append(f"{words} of {pair} differ: {each}.")
    return found


def left_out(systems: Sequence[Scored], kept: Sequence[str]) -> list[str]:
    """Returns a notice of the scores that not every run has."""
    names = list(dict.fromkeys(name for each in systems for name in each.corpus if name not in kept))
    if not names:
        return []
    return [
        f"Left out: {', '.join(names)}, which not all systems have. `capfw evaluate --set /metrics=...` adds scores."
    ]


def _metrics_of_both(first: Scored, other: Scored) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Returns the signatures of the metrics that both have, by the names of their scores."""
    theirs = {tuple(each["scores"]): each for each in other.signature["metrics"]}
    return [(each, theirs[key]) for each in first.signature["metrics"] if (key := tuple(each["scores"])) in theirs]


def _changes(ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[tuple[str, str]]:
    """Returns the facts that differ, each with its two values."""
    keys = dict.fromkeys((*ours, *theirs))
    return [(key, f"{_shown(ours, key)} and {_shown(theirs, key)}") for key in keys if ours.get(key) != theirs.get(key)]


def _shown(facts: Mapping[str, object], key: str) -> str:
    return str(facts[key]) if key in facts else "none"
