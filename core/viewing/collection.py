"""The data of the page: images, and the systems that captioned them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..errors import RequestError
from ..protocols import ImageId, Source
from .curves import Curve

MOST_SYSTEMS = 4

Token = tuple[str, float | None]


@dataclass(frozen=True)
class Candidate:
    """A caption of one system. `tokens` are texts whose join is the caption, each with its natural log-probability.

    `others` are the alternatives, best first. Both are empty where they are not stored.
    """

    text: str
    log_prob: float | None = None
    tokens: Sequence[Token] = ()
    others: Sequence[tuple[str, float | None]] = ()


@dataclass(frozen=True)
class ViewedImage:
    """One image. `source` is None where there is no photo."""

    image_id: ImageId
    references: tuple[str, ...]
    file_name: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class LeftOut:
    """An image that a run could not read."""

    split: str
    image_id: str
    reason: str


@dataclass(frozen=True)
class Progress:
    """The captions of an image of split val in the course of a training, by epoch."""

    image_id: str
    reference: str
    captions: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class System:
    """One system: a run, or a file of results. `title` names its folder or file in full.

    `facts` are shown below the scores. `spec` and `environment` are None for a file. `has_patches`: whether a word of a
    caption can have a heat map, because the run is trained and its encoder emits several tokens.
    """

    name: str
    title: str
    candidates: Mapping[ImageId, Candidate]
    scores: Mapping[str, float] = field(default_factory=dict)
    per_image: Mapping[str, Mapping[ImageId, float]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    spec: object = None
    environment: object = None
    curves: Sequence[Curve] = ()
    progress: Sequence[Progress] = ()
    warnings: Sequence[str] = ()
    unreadable: Sequence[LeftOut] = ()
    has_patches: bool = False
    status: str = ""
    is_live: bool = False
    lower_is_better: Sequence[str] = ()


@dataclass(frozen=True)
class Collection:
    """All that the page shows. `split` is None for result files, and for runs without results.

    `main_score` is the score that the cards show first. `version` changes when the results on disk change.
    """

    title: str
    split: str | None
    images: Sequence[ViewedImage]
    systems: Sequence[System]
    main_score: str | None = None
    notices: Sequence[str] = ()
    version: str = ""

    @property
    def score_names(self) -> list[str]:
        """The scores that images have, in the order of the metrics."""
        return list(dict.fromkeys(name for system in self.systems for name in system.per_image))


def require_few(count: int, what: str) -> None:
    """Raises `RequestError` for more systems than the page shows side by side."""
    if count > MOST_SYSTEMS:
        fix = f"Name at most {MOST_SYSTEMS}."
        raise RequestError(f"{count} {what} are more than the page shows side by side.", where="capfw view", fix=fix)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart. Raises `RequestError` where a path is given twice."""
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path in paths if resolved.count(path.resolve()) > 1)
        raise RequestError("this is given twice.", where=str(twice), fix="Name each run or file once.")
    longest = max(len(path.parts) for path in resolved)
    for num_parts in range(1, longest):
        names = [str(PurePath(*path.parts[-num_parts:])) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]
