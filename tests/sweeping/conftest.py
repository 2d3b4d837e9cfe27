"""Sweep files over a base spec so small that a run takes a few seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from capfw.cli import main

from ..tiny_parts import GPT2, TRANSFORMER, VIT

BASE: dict[str, Any] = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 12, "num_val": 4, "num_test": 4, "image_size": 32},
    "features": {"num_workers": 0, "batch_size": 8},
    "encoder": VIT,
    "mapper": TRANSFORMER,
    "decoder": GPT2,
    "train": {"epochs": 1, "batch_size": 16, "lr": 0.01},
    "generate": {"method": "greedy", "max_tokens": 12},
    "metrics": [{"name": "rouge-l"}, {"name": "cider"}],
}
VAL = {"split": "val", "signature": {"data": {"sha256": "same"}, "metrics": []}}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes base.json and sweep.json, with these keys of the sweep, and returns the sweep."""

    def write(*, base: dict[str, Any] = BASE, inline: object = None, **keys: object) -> Path:
        (tmp_path / "base.json").write_text(json.dumps(base), encoding="utf-8")
        file = tmp_path / "sweep.json"
        sweep = {"capfw": 1, "base": inline or "base.json", "folder": "out", **keys}
        file.write_text(json.dumps(sweep), encoding="utf-8")
        return file

    return write


@pytest.fixture
def capfw() -> Callable[..., Result]:
    """Runs a command in this process."""
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_run(run_dir: Path, score: float | None, seconds: float = 2.0, **signature: object) -> None:
    """The files of a finished run that its results are read from; its test score is a tenth of its val score."""
    files: dict[str, Any] = {
        "environment.json": {
            "is_trained": True,
            "finished_at": "now",
            "data": {"train": {}, **({} if score is None else {"val": {}}), "test": {}},
            "parameters": {"trained": 1000, "total": 5000},
        },
        "checkpoints/best.json": {"step": 3, "score": score, "evaluated_step": 3},
        "scores/test.json": {"scores": {"CIDEr": (score or 0) / 10}},
    }
    if score is not None:
        scores = {"CIDEr": score, "ROUGE-L": score / 2}
        files["scores/val.json"] = {**VAL, "scores": scores, "signature": {**VAL["signature"], **signature}}
    for name, content in files.items():
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text(json.dumps(content), encoding="utf-8")
    started, evaluated = '{"event": "run_started", "time": %s}\n', '{"event": "evaluated", "time": %s}\n'
    calls = [started % 10, evaluated % (10 + seconds / 2), started % 50, '{"event": "run_ended", "time": 59}\n']
    killed = [started % 100, evaluated % (100 + seconds / 2), '{"event": "st']
    (run_dir / "log.jsonl").write_text("".join(calls + killed), encoding="utf-8")
