"""The result of an evaluation, and its files in the run directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RunError
from ..protocols import ImageId
from ..resampling import Interval, Statistics
from ..results import Results, read_results
from .atomic import write_json, write_text
from .generate import Caption, ImageCaptions
from .observing.notebook import html_table

RESULT_FOLDERS = ("candidates", "scores")


@dataclass(frozen=True)
class Evaluation:
    """The captions and scores of one split under one checkpoint.

    `per_image` holds the value of each image, by score name. `intervals` holds a 95 % interval of each score that can have
    one, by a bootstrap over images. `statistics` are those of each metric that has some, with the name of its component. In
    the scores of `lower_is_better`, less is better. Scores of two evaluations may be compared only if their `signature` is
    equal.
    """

    split: str
    step: int
    scores: Mapping[str, float]
    per_image: Mapping[str, Mapping[ImageId, float]]
    captions: Mapping[ImageId, ImageCaptions]
    signature: Mapping[str, object]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    statistics: Sequence[tuple[str, Statistics]] = ()
    lower_is_better: Sequence[str] = ()

    def __repr__(self) -> str:
        scores = scores_in_words(self.scores)
        return f"Evaluation({self.split}, step {self.step}, {len(self.captions):,} images: {scores})"

    def _repr_html_(self) -> str:
        return html_table(f"{self.split}, step {self.step}, {len(self.captions):,} images", self.scores.items())

    def write(self, run_dir: Path) -> None:
        """Writes `candidates/SPLIT.json` (COCO results format) and then `scores/SPLIT.json`."""
        candidates = [self._candidate(image_id) for image_id in self.captions]
        results = Results(
            self.split,
            self.step,
            self.scores,
            self.intervals,
            self.lower_is_better,
            self.signature,
            self.per_image,
            self.statistics,
            candidates,
        )
        lines = [json.dumps(each, ensure_ascii=False) for each in candidates]  # a line for each image
        write_text(run_dir / "candidates" / f"{self.split}.json", "[\n" + ",\n".join(lines) + "\n]\n")
        write_json(run_dir / "scores" / f"{self.split}.json", results.record(), indent=1)

    def _candidate(self, image_id: ImageId) -> dict[str, object]:
        first, *others = self.captions[image_id]
        candidate: dict[str, object] = {"image_id": image_id, "caption": first.text, "log_prob": first.log_prob}
        if first.tokens:
            candidate["token_log_probs"] = [[text, round(log_prob, 4)] for text, log_prob in first.tokens]
        if others:
            candidate["others"] = [{"caption": other.text, "log_prob": other.log_prob} for other in others]
        return candidate

    @staticmethod
    def read(run_dir: Path | str, split: str) -> Evaluation | None:
        """The evaluation in the files of `write`, or None when there are none."""
        found = read_results(run_dir, split)
        if found is None:
            return None
        captions = {
            c["image_id"]: ImageCaptions(
                Caption(o["caption"], o["log_prob"], tuple((text, p) for text, p in o.get("token_log_probs", ())))
                for o in [c, *c.get("others", [])]
            )
            for c in found.candidates
        }
        return Evaluation(
            split,
            found.step,
            found.scores,
            found.per_image,
            captions,
            found.signature,
            found.intervals,
            found.statistics,
            found.lower_is_better,
        )


def scores_in_words(scores: Mapping[str, float]) -> str:
    """Scores in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items()) or "no scores"


def require_writable(folder: Path) -> None:
    """Raises `RunError` before the work starts when its results could not be written."""
    try:
        for name in RESULT_FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise RunError(
            f"the folder of the results cannot be created: {err.strerror or err}.",
            where=str(folder),
            fix="Name another folder with --output (in Python: output=FOLDER).",
        ) from err
