"""Fixtures every test may use. Data that is not in this repository is found through the environment, or skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before any library reads it: tests use no network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / default))
    if not folder.is_dir():
        pytest.skip(f"needs the folder that {variable} names (here {folder}, which does not exist)")
    return folder.resolve()  # capfw resolves links, and tests compare paths


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data: Flickr8k, a little COCO, tokenizers, small weights."""
    return _folder("CAPFW_DATA", "data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference outputs of the original implementations."""
    return _folder("CAPFW_GOLDEN", "golden")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips GPU tests, saying why, where there is no GPU. torch is imported only when such a test was collected."""
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_items:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))
