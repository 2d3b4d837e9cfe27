"""The files of an evaluation in a folder, `candidates/SPLIT.json` and `scores/SPLIT.json`, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RunError
from .protocols import ImageId
from .resampling import Interval, Statistics, interval_method


@dataclass(frozen=True)
class Results:
    """The content of the two files. `candidates` are the entries of the first; every other field is of the second.

    `per_image` holds the value of each image, by score name. `statistics` are those of each metric that has some, with the
    name of its component. In the scores of `lower_is_better`, less is better.
    """

    split: str
    step: int
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    lower_is_better: Sequence[str]
    signature: Mapping[str, Any]
    per_image: Mapping[str, Mapping[ImageId, float]]
    statistics: Sequence[tuple[str, Statistics]]
    candidates: Sequence[Mapping[str, Any]]

    def record(self) -> dict[str, object]:
        """Returns the content of `scores/SPLIT.json`."""
        return {
            "split": self.split,
            "step": self.step,
            "scores": self.scores,
            **interval_record(self.intervals),
            "lower_is_better": self.lower_is_better,
            "signature": self.signature,
            "per_image": {name: _as_text(values) for name, values in self.per_image.items()},
            "statistics": [{"metric": name, "per_image": _as_text(rows)} for name, rows in self.statistics],
        }


def interval_record(intervals: Mapping[str, Interval]) -> dict[str, object]:
    """Returns the intervals and their method as JSON values."""
    return {
        "intervals": {name: [each.low, each.high] for name, each in intervals.items()},
        "interval_method": interval_method(),
    }


def read_results(folder: Path | str, split: str) -> Results | None:
    """Reads the results of one split; returns None where there are none. Raises `RunError` for files that cannot be read."""
    scores_file, candidates_file = (Path(folder, kind, f"{split}.json") for kind in ("scores", "candidates"))
    if not scores_file.is_file():
        return None
    try:
        record, candidates = (json.loads(file.read_text("utf-8")) for file in (scores_file, candidates_file))
        ids = {str(each["image_id"]): each["image_id"] for each in candidates}
        if not all(
            isinstance(one["caption"], str) and isinstance(one["log_prob"], float | int)
            for each in candidates
            for one in (each, *each.get("others", ()))
        ):
            raise ValueError("a caption is no text, or its log_prob no number")
        return Results(
            split,
            record["step"],
            record["scores"],
            {name: Interval(*ends) for name, ends in record["intervals"].items()},
            record["lower_is_better"],
            record["signature"],
            {name: {ids[i]: v for i, v in values.items()} for name, values in record["per_image"].items()},
            [(each["metric"], {ids[i]: v for i, v in each["per_image"].items()}) for each in record["statistics"]],
            candidates,
        )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise RunError(
            f"the results of split {split} cannot be read: {err!r}",
            where=str(scores_file),
            fix="Delete this file and run again, to caption and score the split again.",
        ) from err


def _as_text(values: Mapping[ImageId, object]) -> dict[str, object]:
    return {str(image_id): value for image_id, value in values.items()}
