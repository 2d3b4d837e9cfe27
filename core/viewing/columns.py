"""Turns a collection into the data of the page: facts, and columns in shards of 500 images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ..protocols import ImageId
from .collection import Collection, System

SHARD = 500


def meta_of(
    collection: Collection, *, picture: str | None, photo: str | None = None, heat: Sequence[int] | bool = False
) -> dict[str, object]:
    """The facts that the page needs first. `picture` and `photo` are addresses with {shard} and {index}, or None.

    `heat` are the numbers of the images with heat maps; True: all, on demand.
    """
    return {
        "title": collection.title,
        "split": collection.split,
        "version": collection.version,
        "is_live": any(system.is_live for system in collection.systems),
        "num_images": len(collection.images),
        "shard_size": SHARD,
        "scores": collection.score_names,
        "main_score": collection.main_score,
        "lower_is_better": sorted({name for system in collection.systems for name in system.lower_is_better}),
        "has_extra": has_extra(collection),
        "picture": picture if any(image.source for image in collection.images) else None,
        "photo": photo,
        "heat": heat if isinstance(heat, bool) else list(heat),
        "notices": list(collection.notices),
        "systems": [
            {
                **progress_of(system),
                "name": system.name,
                "title": system.title,
                "spec": system.spec,
                "environment": system.environment,
                "unreadable": [asdict(each) for each in system.unreadable],
                "has_heat": bool(heat) and system.has_patches,
            }
            for system in collection.systems
        ],
    }


def progress_of(system: System) -> dict[str, object]:
    """The facts of a system that change while it trains."""
    return {
        "scores": {name: rounded(value, 6) for name, value in system.scores.items()},
        "facts": dict(system.facts),
        "warnings": list(system.warnings),
        "curves": [asdict(curve) for curve in system.curves],
        "progress": [asdict(each) for each in system.progress],
    }


def num_shards(collection: Collection) -> int:
    """The number of shards."""
    return math.ceil(len(collection.images) / SHARD)


def rows_of(collection: Collection, shard: int) -> dict[str, object]:
    """Ids, references, candidates and scores of the images of a shard."""
    images = collection.images[shard * SHARD : (shard + 1) * SHARD]
    ids = [image.image_id for image in images]
    return {
        "id": ids,
        "file": [image.file_name for image in images],
        "references": [list(image.references) for image in images],
        "systems": [_columns(system, ids) for system in collection.systems],
    }


def has_extra(collection: Collection) -> bool:
    """Whether a candidate has alternatives, or the log-probabilities of its tokens."""
    return any(each.tokens or each.others for system in collection.systems for each in system.candidates.values())


def extra_of(collection: Collection, shard: int) -> dict[str, object]:
    """Tokens and alternatives of the images of a shard."""
    ids = [image.image_id for image in collection.images[shard * SHARD : (shard + 1) * SHARD]]
    found = []
    for system in collection.systems:
        candidates = [system.candidates.get(image_id) for image_id in ids]
        found.append(
            {
                "tokens": [_pairs(each.tokens) if each and each.tokens else None for each in candidates],
                "others": [_pairs(each.others) if each else [] for each in candidates],
            }
        )
    return {"systems": found}


def rounded(value: float | None, digits: int = 5) -> float | None:
    """The value with so many significant digits; None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def _pairs(pairs: Sequence[tuple[str, float | None]]) -> list[list[object]]:
    return [[text, rounded(value, 4)] for text, value in pairs]


def _columns(system: System, ids: Sequence[ImageId]) -> Mapping[str, object]:
    candidates = [system.candidates.get(image_id) for image_id in ids]
    return {
        "caption": [None if each is None else each.text for each in candidates],
        "log_prob": [None if each is None else rounded(each.log_prob) for each in candidates],
        "scores": {
            name: [rounded(values.get(image_id)) for image_id in ids] for name, values in system.per_image.items()
        },
    }
