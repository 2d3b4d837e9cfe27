"""Heat maps of the words of a candidate, computed by the engine for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ..errors import CapfwError, RequestError, listed
from ..protocols import Source
from .collection import Collection

HeatOf: TypeAlias = Callable[[int, Source, str], Mapping[str, object]]
"""Computes the heat maps of the caption of a system, named by its number. Raises `CapfwError`."""


def heat_of(collection: Collection, index: int, system: int, compute: HeatOf) -> Mapping[str, object] | None:
    """The heat maps of an image, or `{"problem": why there are none}`; None where there is no such candidate."""
    if index >= len(collection.images) or system >= len(collection.systems):
        return None
    image, of = collection.images[index], collection.systems[system]
    candidate = of.candidates.get(image.image_id)
    if candidate is None or image.source is None or not of.has_patches:
        return None
    try:
        return compute(system, image.source, candidate.text)
    except CapfwError as err:
        return {"problem": str(err)}


def numbers_of(collection: Collection, ids: Sequence[str]) -> list[int]:
    """The numbers of the images with these ids; of every image for "all". Raises `RequestError` for an unknown id."""
    if not any(system.has_patches for system in collection.systems):
        what = "no run has a grid of patches, so there are no heat maps."
        raise RequestError(what, where="--heat-maps", fix="Leave it out, or show a run whose encoder emits tokens.")
    known = {str(image.image_id): number for number, image in enumerate(collection.images)}
    if list(ids) == ["all"]:
        return list(known.values())
    if unknown := [image_id for image_id in ids if image_id not in known]:
        fix = f"Image ids: {listed(list(known), 5)}."
        raise RequestError(f"no image has the id {listed(unknown, 5)}.", where="--heat-maps", fix=fix)
    return [known[image_id] for image_id in ids]
