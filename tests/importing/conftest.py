"""Holds the fixtures that the tests of `capfw import` share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Original(NamedTuple):
    """One project's reference outputs: their folder, and its config.json."""

    folder: Path
    facts: dict[str, Any]

    def overrides(self, case: dict[str, Any]) -> dict[str, object]:
        """Gives the options that a user sets for a reference checkpoint: a tiny encoder of its width, and the tiny GPT-2."""
        network = case.get("mapping_network", {})
        tokenizer = self.facts.get("tokenizer_and_gpt2") or self.facts["tokenizer_and_gpt2_config"]
        said = {
            "/encoder": tiny_clip(network.get("embed_dim") or case["prefix_size"]),
            "/decoder/weights": str(self.folder / tokenizer),
            "/train/max_caption_tokens": 10,
        }
        return said | ({"/decoder/task_prompt": prompt} if (prompt := case.get("prefix_task_prompt")) else {})


def tiny_clip(dim: int, **options: object) -> dict[str, object]:
    """A random CLIP tower whose embeddings are `dim` wide."""
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
    return {"name": "clip", "model": {"embed_dim": dim, "vision_cfg": vision}, "weights": "random", **options}


def _original(folder: Path) -> Original:
    return Original(folder, json.loads((folder / "config.json").read_text()))


@pytest.fixture(scope="session")
def seed(golden: Path) -> Original:
    """gpt2-image-captioning."""
    return _original(golden / "seed_mappers")


@pytest.fixture(scope="session")
def clipcap(golden: Path) -> Original:
    """CLIP_prefix_caption."""
    return _original(golden / "clipcap")
