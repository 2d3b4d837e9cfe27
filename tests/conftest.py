"""Fixtures every test may use. Data that is not in this repository is found through the environment, or skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before any library reads it: tests use no network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault(
    "TRACKIO_DIR", tempfile.mkdtemp(prefix="capfw-trackio-")
)  # trackio's own one is in the user's home


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


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout. Building writes beside the sources, so it builds a copy of them, with a stray test."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in ("commands", "core", "plugins"):
        shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    names = ("pyproject.toml", "README.md", "LICENSE", "py.typed")
    for file in (*REPOSITORY.glob("*.py"), *(REPOSITORY / name for name in names)):
        shutil.copy(file, source)
    (source / "tests").mkdir()
    (source / "tests" / "test_stray.py").touch()
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = folder.glob("*.whl")
    return wheel


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips GPU tests, saying why, where there is no GPU. torch is imported only when such a test was collected."""
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_items:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))
