"""Tiny runs: small enough that a whole one takes a second or two."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capfw import Captioner, load_spec, run
from capfw.core.registry import Registry

from ..tiny_parts import GPT2, TRANSFORMER, VIT

TINY: dict[str, Any] = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 16, "num_val": 4, "num_test": 4, "image_size": 32},
    "features": {"num_workers": 0, "batch_size": 8},
    "encoder": VIT,
    "mapper": TRANSFORMER,
    "decoder": GPT2,
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.01},
    "generate": {"method": "greedy", "max_tokens": 20},
    "metrics": [{"name": "bleu"}, {"name": "rouge-l"}, {"name": "cider"}],
    "run_dir": "run",
}


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Everything installed."""
    return Registry.discover()


@pytest.fixture(scope="session")
def captioner(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    """A tiny trained captioner; features (B, 1, 16), prefix (B, 2, 16)."""
    folder = tmp_path_factory.mktemp("library")
    spec = {
        "capfw": 1,
        "data": {"name": "shapes", "num_train": 8, "num_val": 2, "num_test": 0, "image_size": 32},
        "features": {"num_workers": 0, "standardize": True},
        "encoder": {**VIT, "features": "pooled"},
        "mapper": {"name": "linear", "prefix_length": 2},
        "decoder": GPT2,
        "train": {"epochs": 1},
        "metrics": [{"name": "cider"}],
        "run_dir": str(folder / "run"),
    }
    result = run(load_spec(spec, registry=registry), registry=registry)
    return Captioner.load(result.run_dir, device="cpu", registry=registry)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny spec, with sections replaced, and returns its file."""

    def write(name: str = "spec.json", **sections: object) -> Path:
        spec = copy.deepcopy(TINY)
        for section, value in sections.items():
            spec[section] = {**spec[section], **value} if isinstance(value, dict) and "name" not in value else value
        file = tmp_path / name
        file.write_text(json.dumps(spec))
        return file

    return write


@pytest.fixture
def odd_parts(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Everything installed, and the parts in `plugins/odd_parts.py`."""
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("plugins")))
    return registry.with_plugins(importlib.import_module("odd_parts"))
