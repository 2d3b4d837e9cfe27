"""The captions and scores of a run, as observers, loggers and exporters receive them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnreadableSource
from .images import thumbnail
from .shapes import ImageId
from .sources import Source


@dataclass(frozen=True)
class CaptionedImage:
    """An image with the captions that a run generated for it, best first, and their natural-log probabilities.

    `scores` has the value of this image by score name, where a metric has values of single images.
    """

    image_id: ImageId
    captions: tuple[str, ...]
    log_probs: tuple[float, ...]
    references: tuple[str, ...]
    scores: Mapping[str, float]
    source: Source
    file_name: str = ""

    @property
    def caption(self) -> str:
        """The best caption."""
        return self.captions[0]

    @property
    def name(self) -> str:
        """The file name of the image, or the name of its source."""
        return self.file_name or self.source.name

    def thumbnail(self, *, longest_side: int = 224) -> bytes | None:
        """A small JPEG; None where the source is no image, or can no longer be read."""
        try:
            return thumbnail(self.source.read(), longest_side=longest_side)
        except UnreadableSource:
            return None


def examples_table(examples: Sequence[CaptionedImage]) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and one row per image: id, best caption, and the references, one per line."""
    rows = [[str(each.image_id), each.caption, "\n".join(each.references)] for each in examples]
    return ["image_id", "caption", "references"], rows


@dataclass(frozen=True)
class CaptionedSplit:
    """The result of an evaluation: every image of a split with its captions, and the scores of the split.

    `step` is the step of the weights. `spec` is the resolved spec of the run as JSON values, without its loggers.
    """

    run_name: str
    split: str
    step: int
    scores: Mapping[str, float]
    images: Sequence[CaptionedImage]
    spec: Mapping[str, object]

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that single images have, in the order of the metrics."""
        return tuple(dict.fromkeys(name for image in self.images for name in image.scores))

    def table(self) -> tuple[list[str], list[list[str | float | None]]]:
        """The names of the columns, and one row per image: id, name, best caption, log-probability, references, scores.

        The references are in one cell, one per line. A score that an image lacks is None.
        """
        names = self.score_names
        rows: list[list[str | float | None]] = [
            [
                str(image.image_id),
                image.name,
                image.caption,
                image.log_probs[0],
                "\n".join(image.references),
                *(image.scores.get(name) for name in names),
            ]
            for image in self.images
        ]
        return ["image_id", "file", "caption", "log_prob", "references", *names], rows


@dataclass(frozen=True)
class LoggedRun:
    """The run that a logger records. `folder` is the logger's own folder in the run directory; it exists.

    `is_resumed`: an earlier call began the run, and the files of the logger are still in `folder`. Steps after the last
    checkpoint come again. `spec` is the resolved spec as JSON values, without its loggers.
    """

    name: str
    run_dir: Path
    folder: Path
    spec: Mapping[str, object]
    is_resumed: bool
