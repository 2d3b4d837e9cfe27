"""Twenty photos with their captions, and `capfw init` on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from capfw.cli import main

NUM_IMAGES = 20
ROWS = [(f"{i}.jpg", f"{words} number {i}") for i in range(NUM_IMAGES) for words in ("a picture of", "here is")]
TINY = (
    '--set=/encoder/weights="random"',
    '--set=/encoder/architecture={"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2}',
    '--set=/mapper/prefix_length=2',
    '--set=/decoder={"name": "gpt2", "weights": "random", "num_layers": 1, "width": 16, "num_heads": 2}',
    '--set=/features={"num_workers": 0}',
    '--set=/train={"epochs": 1, "max_steps": 3, "max_caption_tokens": 20}',
    '--set=/generate={"method": "greedy", "max_tokens": 8}',
)  # fmt: skip


def write_csv(file: Path, header: Iterable[str] = ("file", "caption"), delimiter: str = ",") -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, delimiter=delimiter).writerows([tuple(header), *ROWS])
    return file


def invoke(*arguments: object, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)], input=answers)


def written(home: Path, name: str = "spec.json") -> Any:
    return json.loads((home / name).read_text(encoding="utf-8"))


def split_sizes(result: Result) -> dict[str, int]:
    assert result.exit_code == 0, result.stderr
    sizes = result.stdout.split("images: ")[1].splitlines()[0]
    return {split: int(count) for split, count in (each.split() for each in sizes.split(", "))}


def are_divided(sizes: dict[str, int], num_images: int = NUM_IMAGES) -> bool:
    """Every image is in a split, and each split has some; how many hangs on the hashes of their names."""
    return list(sizes) == ["train", "val", "test"] and min(sizes.values()) > 0 and sum(sizes.values()) == num_images
