"""Fixtures of the decoder tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from capfw.core.protocols import TokenBatch

CAPTIONS = (
    "A man 's dog runs .",
    "two dogs play in the snow",
    "A red bus, parked on the street!",
    "a dog runs in the red snow .",
)

Build = Callable[..., Any]


@pytest.fixture
def captions() -> tuple[str, ...]:
    return CAPTIONS


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Prepares and builds a decoder, seeded, with the embeddings and layers of an unfamiliar scale."""
    from capfw.plugins.decoders.causal_lm.model import LanguageModel

    made = 0

    def make(config: Any, captions: Sequence[str] = CAPTIONS) -> Any:
        nonlocal made
        made += 1
        assets = tmp_path / f"assets-{made}"
        assets.mkdir()
        torch.manual_seed(0)
        LanguageModel.prepare(config, captions=iter(captions), assets=assets)
        return LanguageModel(config, assets=assets)

    return make


@pytest.fixture
def batch() -> Callable[[Sequence[Sequence[int]]], TokenBatch]:
    """Pads rows of ids on the right, with a number that is no id."""

    def make(rows: Sequence[Sequence[int]], extra: int = 0) -> TokenBatch:
        length = max(map(len, rows)) + extra
        ids = torch.tensor([[*row, *[-1] * (length - len(row))] for row in rows])
        return TokenBatch(ids, ids >= 0)

    return make
