"""TensorBoard itself reads the files that the logger writes."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from capfw.plugins.loggers.tensorboard import TensorBoardConfig
from capfw.plugins.loggers.tensorboard.model import TensorBoardLogger

pytest.importorskip("tensorboard", reason='needs TensorBoard: pip install "capfw[tensorboard]"')


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0}).Reload()


def values(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in events.Scalars(tag)]


def test_values_images_and_tables_are_there(record: Callable[..., str], folder: Path) -> None:
    place = record(TensorBoardLogger(TensorBoardConfig()))

    events = read(folder)
    assert values(events, "train/loss") == [(10, 4.0), (20, 2.0)]
    assert values(events, "val/CIDEr") == [(10, pytest.approx(0.1)), (20, pytest.approx(0.2))]
    for image_id, color in ((7, (254, 0, 0)), (8, (0, 0, 254))):
        first, second = events.Images(f"val/{image_id}")
        assert (first.step, second.step) == (10, 20)
        assert Image.open(io.BytesIO(first.encoded_image_string)).getpixel((0, 0)) == color
    [first, _] = events.Tensors("val/examples/text_summary")
    text = first.tensor_proto.string_val[0].decode()
    assert "| 7 | a red field | red \\| all over |" in text
    assert "| 8 | a \\<b\\>blue\\</b\\> field | blue<br>sky |" in text
    [table] = events.Tensors("test/results/text_summary")
    lines = table.tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == "| image_id | file | caption | log_prob | references | CIDEr |"
    assert lines[2] == "| 7 | bytes in memory | a red field | -1.5000 | red \\| all over | 1.2500 |"
    assert place == f"see it with: tensorboard --logdir {shlex.quote(str(folder.parents[2]))}"


def test_a_continued_run_replaces_the_steps_that_come_again(record: Callable[..., str], folder: Path) -> None:
    record(TensorBoardLogger(TensorBoardConfig()), steps=(10, 20, 30))
    record(TensorBoardLogger(TensorBoardConfig()), steps=(20, 30), is_resumed=True)

    assert [step for step, _ in values(read(folder), "train/loss")] == [10, 20, 30]
