"""Reads the course of a training, and its warnings, from a run's log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Example:
    """The caption of an image of the val split at one evaluation."""

    image_id: str
    caption: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Epoch:
    """One epoch. `step` is its last step; `scores` and `examples` are those of the val split.

    All three are empty without validation.
    """

    number: int
    train_loss: float
    val_loss: float | None
    step: int | None
    scores: Mapping[str, float]
    examples: tuple[Example, ...] = ()

    @property
    def captions(self) -> Mapping[str, str]:
        """The captions of the examples by image id."""
        return {each.image_id: each.caption for each in self.examples}


@dataclass(frozen=True)
class History:
    """The course of a training. `losses` has each named loss by step; `total` is the weighted sum that is minimised.

    `position` is where it is: "epoch 2, step 470 of 1,256".
    """

    total: Mapping[int, float]
    losses: Mapping[str, Mapping[int, float]]
    epochs: tuple[Epoch, ...]
    warnings: tuple[str, ...]
    position: str = ""

    @property
    def examples(self) -> Mapping[str, Example]:
        """One example of each image, by its id."""
        return {each.image_id: each for epoch in self.epochs for each in epoch.examples}

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the scores of the val split, in the order of the metrics."""
        return tuple(dict.fromkeys(name for epoch in self.epochs for name in epoch.scores))


def read_history(file: Path) -> History:
    """The history in a `log.jsonl`; empty where there is no file.

    A continued run repeats steps, and the later line counts. It may log an epoch again without the validation loss that
    it has computed before; so the last line with this loss counts, or the last line if none has it.
    """
    total: dict[int, float] = {}
    losses: dict[str, dict[int, float]] = {}
    epochs: dict[int, Epoch] = {}
    warnings: dict[str, None] = {}
    scored: Mapping[str, Any] = {}
    position = ""
    for record in _records(file):
        match record["event"]:
            case "step":
                total[record["step"]] = record["loss"]
                position = f"epoch {record['epoch']}, step {record['step']:,} of {record['num_steps']:,}"
                for name, value in record["losses"].items():
                    losses.setdefault(name, {})[record["step"]] = value
            case "evaluated" if record["split"] == "val":
                scored = record
            case "epoch":
                earlier = epochs.get(record["epoch"])
                if earlier is None or earlier.val_loss is None or record["val_loss"] is not None:
                    epochs[record["epoch"]] = _epoch(record, scored if record["val_loss"] is not None else {})
            case "notice" if record["level"] == "warning":
                warnings[record["text"]] = None
    return History(
        dict(sorted(total.items())),
        {name: dict(sorted(values.items())) for name, values in losses.items()},
        tuple(epochs[number] for number in sorted(epochs)),
        tuple(warnings),
        position,
    )


def _epoch(record: Mapping[str, Any], scored: Mapping[str, Any]) -> Epoch:
    scores = {name: value for name, value in scored.get("scores", {}).items() if name != "loss"}
    examples = tuple(
        Example(str(each["image_id"]), each["caption"], tuple(each["references"]))
        for each in scored.get("examples", ())
    )
    return Epoch(record["epoch"], record["train_loss"], record["val_loss"], scored.get("step"), scores, examples)


def _records(file: Path) -> Iterator[Mapping[str, Any]]:
    """The lines of a log. Skips a line that a crash left incomplete."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue
