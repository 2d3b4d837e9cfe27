"""A short record, as the engine makes it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from capfw.core.protocols import CaptionedImage, CaptionedSplit, LoggedRun, Logger, MemorySource

Record = Callable[..., str]


def picture(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), color).save(file, "PNG")
    return file.getvalue()


IMAGES = [
    CaptionedImage(
        7, ("a red field", "red"), (-1.5, -2.0), ("red | all over",), {"CIDEr": 1.25}, MemorySource(picture("red"))
    ),
    CaptionedImage(
        8, ("a <b>blue</b> field",), (-2.5,), ("blue", "sky"), {"CIDEr": 0.5}, MemorySource(picture("blue"))
    ),
]
RESULTS = CaptionedSplit("a-run", "test", 20, {"CIDEr": 0.875}, IMAGES, {"seed": 42, "mapper": {"name": "mlp"}})


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """record(logger, steps=..., is_resumed=...): records losses, examples and a table; returns the place to look at."""

    def record(logger: Logger, *, steps: tuple[int, ...] = (10, 20), is_resumed: bool = False) -> str:
        folder = tmp_path / "a-run/loggers/it"
        folder.mkdir(parents=True, exist_ok=True)
        place = logger.start(LoggedRun("a-run", tmp_path / "a-run", folder, RESULTS.spec, is_resumed))
        for step in steps:
            logger.log_scalars(step, {"train/loss": 40.0 / step, "val/CIDEr": step / 100})
            logger.log_examples(step, "val", IMAGES)
        logger.log_results(RESULTS)
        logger.finish(is_complete=True)
        return place

    return record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the logger."""
    return tmp_path / "a-run/loggers/it"
