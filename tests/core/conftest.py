"""Toys, and installed packages that exist only for a test."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from capfw.core.registry import Registry

# Test files are no package (--import-mode=importlib), so what they share is loaded by its path, once.
_found = importlib.util.spec_from_file_location("capfw_test_toys", Path(__file__).with_name("toys.py"))
assert _found is not None
assert _found.loader is not None
_toys = importlib.util.module_from_spec(_found)
sys.modules["capfw_test_toys"] = _toys
_found.loader.exec_module(_toys)

Install = Callable[..., Path]

ENCODER = """
from capfw.core.protocols import Component, EncoderConfig, hookimpl

class Config(EncoderConfig):
    pass

def made(name="{name}", **changes):
    values = dict(config=Config, target="x.model:X", summary="An encoder.", example=Config())
    return Component(name=name, **{{**values, **changes}})
"""


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    return _toys


@pytest.fixture
def registry(toys: ModuleType) -> Registry:
    """A registry of the toys alone."""
    return Registry([toys.Toys()])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on sys.path, as site-packages is."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("CAPFW_PLUGINS", raising=False)
    return folder


@pytest.fixture
def install(site: Path) -> Iterator[Install]:
    """install(distribution, body, name=...): a package with an entry point of group "capfw" and that body."""
    modules = []

    def write(distribution: str, body: str, *, name: str = "third-encoder", preamble: bool = True) -> Path:
        module = distribution.replace("-", "_")
        modules.append(module)
        (site / f"{module}.py").write_text((ENCODER.format(name=name) if preamble else "") + body, encoding="utf-8")
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[capfw]\n{distribution}-plugin = {module}\n", encoding="utf-8")
        return site

    yield write
    for module in modules:
        sys.modules.pop(module, None)
