"""The site: every page is in its navigation, a broken link stops the build, and the built pages ask no other server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
# An attribute that makes a browser load a file, a style sheet that loads one, and a link of the head, but for "canonical".
LOADS = (
    r"""(?:src|srcset|data|poster)=["']?(https?:|//)|url\(["']?(https?:|//)|@import|<link[^>]+href=["']?(https?:|//)"""
)


def pages_of(nav: list[dict[str, Any]]) -> Iterator[str]:
    for title, target in (pair for entry in nav for pair in entry.items()):
        assert title
        yield from [target] if isinstance(target, str) else pages_of(target)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Builds the site of a folder as `make docs` does."""
    pytest.importorskip("zensical", reason="the site is built with zensical: not installed")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    return tmp_path


def test_navigation_names_every_page_once() -> None:
    assert sorted(pages_of(PROJECT["nav"])) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_site_has_every_page_and_loads_nothing_from_elsewhere(copied: Path) -> None:
    built = build(copied)

    assert built.returncode == 0, built.stdout + built.stderr
    site = copied / "site"
    names = {page.stem for page in (copied / "docs").glob("*.md")} - {"index"}
    assert {page.parent.name for page in site.glob("*/index.html")} >= names
    assert not list(site.rglob("*.py"))
    for file in (*site.rglob("*.html"), *site.rglob("*.css")):
        assert not re.search(LOADS, file.read_text("utf-8")), file


@pytest.mark.parametrize("link", ["[a page](nowhere.md)", "[a heading](spec.md#nowhere)", "[a heading](#nowhere)"])
def test_broken_link_stops_the_build(copied: Path, link: str) -> None:
    page = copied / "docs/scores.md"
    page.write_text(f"{page.read_text('utf-8')}\n{link}\n", encoding="utf-8")

    built = build(copied)

    assert built.returncode == 1
    assert "docs/scores.md" in built.stdout + built.stderr or "scores.md" in built.stdout + built.stderr
    assert "does not exist" in built.stdout + built.stderr
