"""A small trained run, for the commands that use one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw import Captioner, load_spec, run
from capfw.cli import main
from capfw.core.registry import Registry

from ..tiny_parts import GPT2, TRANSFORMER, VIT

SPEC = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 12, "num_val": 4, "num_test": 4, "image_size": 32},
    "features": {"num_workers": 0, "batch_size": 8},
    "encoder": VIT,
    "mapper": TRANSFORMER,
    "decoder": GPT2,
    "train": {"epochs": 1, "batch_size": 16, "lr": 0.01},
    "generate": {"method": "greedy", "max_tokens": 12},
    "metrics": [{"name": "rouge-l"}, {"name": "cider"}],
    "run_dir": "run",
}
Capfw = Callable[..., Result]


@pytest.fixture
def capfw() -> Capfw:
    """Runs a command in this process."""

    def call(*arguments: object, given: bytes | None = None) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=given)

    return call


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec of the run."""
    file = tmp_path_factory.mktemp("trained") / "spec.json"
    file.write_text(json.dumps(SPEC))
    return file


@pytest.fixture(scope="session")
def trained(spec_file: Path) -> Path:
    """The run directory. Greedy search."""
    return run(load_spec(spec_file), registry=Registry.discover(), device="cpu").run_dir


@pytest.fixture(scope="session")
def captioner(trained: Path) -> Captioner:
    """The same run in Python."""
    return Captioner.load(trained, device="cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos in the working folder's `photos`: 1.png, 2.png, 3.png."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (40, 30), (number * 60, 20, 90)).save(folder / f"{number}.png")
    return folder
