"""The diagrams of the pages: a window 1300 pixels wide shows 86 characters of a block beside the two menus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))
WIDEST = 82  # the button that copies covers the end of the first line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_diagrams_are_not_cut_off(page: Path) -> None:
    blocks = re.findall(r"^```text\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks if "──" in block for line in block.splitlines()]
    assert [line for line in lines if len(line) > WIDEST] == []


def test_there_are_diagrams() -> None:
    assert sum("──>" in page.read_text("utf-8") for page in PAGES) >= 2
