"""Packages that are installed for one test only: a folder on the path, with the metadata that pip leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PREAMBLE = """
from capfw.core.protocols import Component, EncoderConfig, MetricConfig, hookimpl

class Config(EncoderConfig):
    pass

def made(name="eye", **changes):
    values = dict(config=Config, target="x.model:X", summary="An encoder.", example=Config())
    return Component(name=name, **{**values, **changes})

"""

TINY: dict[str, Any] = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 8, "num_val": 2, "num_test": 2, "image_size": 32},
    "features": {"num_workers": 0},
    "encoder": {
        "name": "vit",
        "weights": "random",
        "architecture": {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2},
    },
    "mapper": {"name": "linear", "prefix_length": 2},
    "decoder": {
        "name": "gpt2",
        "weights": "random",
        "num_layers": 1,
        "width": 16,
        "num_heads": 2,
        "max_positions": 64,
        "tokenizer": "from-captions",
    },
    "train": {"epochs": 1, "max_steps": 2, "best_by": "loss"},
    "generate": {"method": "greedy", "max_tokens": 5},
    "metrics": [{"name": "bleu"}],
    "run_dir": "run",
}


@dataclass
class Site:
    """A folder as site-packages is, and `capfw` called with it on the path."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def install(self, distribution: str, body: str, *, entry_point: str | None = None, version: str = "1.2") -> None:
        """A distribution with one module of this text and an entry point, named as it is, of group "capfw"."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(body, encoding="utf-8")
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[capfw]\n{distribution} = {entry_point or module}\n")

    def uninstall(self, distribution: str) -> None:
        """Takes the module and its metadata away."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").unlink()
        [info] = self.folder.glob(f"{module}-*.dist-info")
        for file in info.iterdir():
            file.unlink()
        info.rmdir()

    def capfw(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """The command line in a process of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CAPFW_")}
        return subprocess.run(
            [sys.executable, "-m", "capfw", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**kept, "PYTHONPATH": str(self.folder), **self.environment},
        )

    def plugins(self, *arguments: object) -> dict[str, dict[str, Any]]:
        """Runs `capfw plugins --json` and returns its answer by the name of the plugin."""
        done = self.capfw(*arguments, "plugins", "--json")
        assert done.returncode == 0, done.stderr
        return {plugin["name"]: plugin for plugin in json.loads(done.stdout)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty site."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture
def preamble() -> str:
    """Imports, a config and `made(name)`, a component, for the text of a module."""
    return PREAMBLE


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes a spec whose whole run takes a second or two, with sections replaced, and returns its file."""

    def write(**sections: object) -> Path:
        file = tmp_path / "spec.json"
        file.write_text(json.dumps(TINY | sections))
        return file

    return write


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site, on the path of this very process."""
    monkeypatch.syspath_prepend(str(site.folder))
    monkeypatch.delenv("CAPFW_PLUGINS", raising=False)
    known = set(sys.modules)
    yield site
    for module in set(sys.modules) - known:
        if getattr(sys.modules[module], "__file__", None) and module.startswith("capfw_"):
            del sys.modules[module]
