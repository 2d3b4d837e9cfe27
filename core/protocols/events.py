"""The events of a run that observers receive: one frozen record per hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .results import CaptionedImage, CaptionedSplit


@dataclass(frozen=True)
class RunStarted:
    """A run begins or continues. `spec` is the resolved spec as JSON values."""

    run_dir: Path
    spec: Mapping[str, object]
    is_resumed: bool


@dataclass(frozen=True)
class Progress:
    """A stage made progress: `done` of `total` units ("images", "captions", "steps")."""

    stage: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class Notice:
    """Something a person should read; `level` is "info" or "warning"."""

    level: str
    text: str


@dataclass(frozen=True)
class StepEnded:
    """One optimizer step, or the mean of the steps since the last event.

    `loss` is the value that training minimises: the weighted sum of the named `losses`, per target token (nats) or per
    row. `lr` is the largest learning rate of the parts. `grad_norm` is the norm before clipping.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    lr: float
    grad_norm: float
    captions_per_second: float
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochEnded:
    """One pass over the training captions; losses are means per target token (nats)."""

    epoch: int
    num_epochs: int
    train_loss: float
    val_loss: float | None


@dataclass(frozen=True)
class Evaluated:
    """A split was captioned and scored.

    `examples` are a few of its images, the same in every evaluation (`/train/num_examples`). `distinct_share` is the
    number of different captions divided by the number of images. `results` has all images, after the final evaluation.
    """

    split: str
    step: int
    scores: Mapping[str, float]
    is_best: bool
    examples: Sequence[CaptionedImage] = ()
    distinct_share: float | None = None
    results: CaptionedSplit | None = None


@dataclass(frozen=True)
class RunEnded:
    """A run ended well; `scores` are the scores of the test split, or of the last split that was scored."""

    run_dir: Path
    scores: Mapping[str, float]
    seconds: float
