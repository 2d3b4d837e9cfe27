"""Finds the published weights of a spec before any part is built, and fetches the missing ones in one look-up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from ..protocols import Call, PublishedWeights, ReadsPublishedWeights, Restorable
from ..spec import Part, RunSpec
from .build import located

FRESH: frozenset[Call] = frozenset({"prepare", "build"})
"""The calls of a decoder in a run that begins."""
Work: TypeAlias = Literal["train", "evaluate", "caption"]
"""Training builds all parts, evaluation leaves out the objective, and captioning the metrics too."""


def published_weights(
    spec: RunSpec, *, decoder_calls: Iterable[Call] = FRESH, work: Work = "train"
) -> list[PublishedWeights]:
    """The published weights that building the parts of `spec` reads, each with its JSON pointer as `option`.

    `decoder_calls`: the calls that build the decoder; the others are built. `work`: what the parts are built for.
    Raises `ComponentError` for a name that nobody has published.
    """
    found: list[PublishedWeights] = []
    for pointer, part in _parts(spec, work):
        calls = set(decoder_calls if part.kind == "decoder" else ("build",))
        found += _of_part(pointer, part, calls)
    return found


def _parts(spec: RunSpec, work: Work) -> Iterator[tuple[str, Part]]:
    named = (
        ("/encoder", spec.encoder),
        ("/mapper", spec.mapper),
        ("/decoder", spec.decoder),
        ("/context", spec.context),
    )
    yield from ((pointer, part) for pointer, part in named if part is not None)
    if work != "caption":
        yield from _numbered("/metrics", spec.metrics)
    if work == "train":
        yield "/train/objective", spec.train.objective
        yield from _numbered("/train/objective/metrics", spec.train.objective.metrics)


def _numbered(section: str, parts: Sequence[Part]) -> Iterator[tuple[str, Part]]:
    return ((f"{section}/{index}", part) for index, part in enumerate(parts))


def _of_part(pointer: str, part: Part, calls: set[Call]) -> list[PublishedWeights]:
    component_class = part.component.load()
    if not issubclass(component_class, ReadsPublishedWeights):
        return []
    if "restore" in calls and not issubclass(component_class, Restorable):
        calls = calls - {"restore"} | {"build"}
    with located(pointer):
        declared = component_class.published_weights(part.config)
    return [replace(each, option=f"{pointer}/{each.option}") for each in declared if calls & each.read_by]
