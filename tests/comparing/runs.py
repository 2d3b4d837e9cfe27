"""Folders with the results of an evaluation, as `capfw evaluate --output` writes them, and systems made of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capfw.core.comparing.systems import Scored, System
from capfw.core.protocols import Captioned, ImageId
from capfw.core.registry import Registry
from capfw.core.results import Results
from capfw.core.scoring import apply_metrics, choose_parts

REFERENCES: dict[ImageId, tuple[str, ...]] = {
    1: ("a red dog runs on grass", "a dog on the grass"),
    2: ("a cat sits on a chair", "the cat on a chair"),
    3: ("two men play football", "men with a ball"),
    "x": ("a bird in a tree", "a small bird"),
}
GOOD: dict[ImageId, str] = {
    1: "a dog runs on grass",
    2: "a cat on a chair",
    3: "two men with a ball",
    "x": "a small bird",
}
POOR: dict[ImageId, str] = {1: "a dog", 2: "a cat on a chair", 3: "a man", "x": "a small bird in a tree"}


def write_results(
    folder: Path,
    candidates: Mapping[ImageId, str],
    references: Mapping[ImageId, tuple[str, ...]] = REFERENCES,
    *,
    metrics: str = "bleu,rouge-l,cider",
    split: str = "test",
    signature: Mapping[str, Any] = {},
) -> Path:
    """Scores these candidates, and writes both files of a split."""
    parts = choose_parts(Registry.discover(), metrics)
    found = apply_metrics([part.build() for part in parts], Captioned(candidates, references))
    facts = {"images": len(references), "captions": sum(map(len, references.values())), "sha256": str(references)}
    whole = {
        "metrics": found.signatures,
        "data": facts,
        "generate": {"method": "greedy"},
        "versions": {"torch": "2.14"},
    }
    entries = [{"image_id": i, "caption": text, "log_prob": -1.0} for i, text in candidates.items()]
    statistics = [(part.name, rows) for part, rows in zip(parts, found.statistics, strict=True) if rows]
    results = Results(
        split, 4, found.corpus, found.intervals, [], {**whole, **signature}, found.per_image, statistics, entries
    )
    for kind, content in (("scores", results.record()), ("candidates", entries)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{split}.json").write_text(json.dumps(content))
    return folder


def system(name: str, *runs: Sequence[float], lower_is_better: bool = False) -> System:
    """A system whose only score, "mean", is the mean of values per image; one list of values per run."""
    return System(name, [_scored(f"{name}-{n}", np.asarray(values), lower_is_better) for n, values in enumerate(runs)])


def _scored(name: str, values: np.ndarray, lower_is_better: bool) -> Scored:
    per_image: dict[ImageId, float] = dict(enumerate(values.tolist()))
    signature = {"data": {}, "metrics": [{"scores": ["mean"]}]}
    captions: dict[ImageId, str] = {i: f"{name} {i}" for i in per_image}
    lower = ["mean"] if lower_is_better else []
    return Scored(name, {"mean": float(values.mean())}, {"mean": per_image}, [], captions, signature, lower)
