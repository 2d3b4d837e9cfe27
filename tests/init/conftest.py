"""The folder in which `capfw init` is tested."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from .photos import NUM_IMAGES


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the working directory, with twenty JPEGs in `photos`."""
    (tmp_path / "photos").mkdir()
    for i in range(NUM_IMAGES):
        Image.new("RGB", (24, 16), (10 * i, 90, 200)).save(tmp_path / "photos" / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path
