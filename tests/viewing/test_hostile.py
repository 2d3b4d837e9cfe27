"""Captions, references, ids and file names that try to do something: the page shows them as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capfw.core.protocols import MemorySource
from capfw.core.viewing.collection import Candidate, Collection, Progress, System, ViewedImage
from capfw.core.viewing.curves import Curve

from .conftest import Watched, picture

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "'\"`${alert(4)}",
    "<!--<script>",
    "\u202eright to left override",
    "מילים מימין לשמאל",
    "\x1b[31mred\x1b[0m\x07\x00",
    "word " * 1000,
    "x" * 5000,
    "\ud800 half a pair",
    "line\u2028separator\nand line feed",
    "__proto__",
    "",
]


BOTTOMS = """[...document.querySelectorAll('.card')].map((card) =>
    [card.querySelector('.card-footer'), card].map((each) => each.getBoundingClientRect().bottom))"""


@pytest.fixture
def address(write: Callable[[Collection], str]) -> str:
    images = [ViewedImage(text, (text, text), text, MemorySource(picture("blue"))) for text in HOSTILE]
    candidates = {
        text: Candidate(text, -1.0, [(text, -1.0), ("", -0.1)] if text else (), [(text, -2.0)]) for text in HOSTILE
    }
    systems = [
        System(
            name,
            name,
            candidates,
            {name: 1.0},
            {name: dict.fromkeys(HOSTILE, 1.0)},
            {name: name},
            {name: name},
            {name: [name]},
            [Curve(name, "step", name, [(1, 1.0), (2, 2.0)], 1)],
            [Progress(name, name, [(1, name)])],
            [name],
        )
        for name in HOSTILE[:4]
    ]
    return write(Collection(HOSTILE[0], HOSTILE[1], images, systems, HOSTILE[0], [HOSTILE[2]]))


def test_hostile_text_is_shown_and_does_nothing(address: str, watch: Callable[..., Watched]) -> None:
    watched = watch()
    page = watched.open(address + "#words=1")
    assert watched.count == f"{len(HOSTILE)} images"
    assert page.title() == "<script>alert(1)</script> · capfw"
    for tab in ("scores", "training", "settings", "images"):
        page.click(f"#tab-{tab}")
    page.click(".card[data-place='0']")
    for place in range(len(HOSTILE)):
        shown = page.locator("dialog.detail .system .caption").first.text_content()
        if HOSTILE[place].strip() and len(HOSTILE[place]) < 100 and "\x00" not in HOSTILE[place]:
            assert HOSTILE[place].split()[-1] in shown
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.fill("#search", "<script>alert")
    assert watched.count.startswith("2 of")
    assert page.locator("script").count() == 1, "the page's own"
    assert page.locator("img[src=x]").count() == 0


def test_hostile_text_breaks_no_card(address: str, watch: Callable[..., Watched]) -> None:
    page = watch(400, 800).open(address)
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    for place in range(0, len(HOSTILE), 3):
        page.evaluate(f"document.querySelector('#scroller').scrollTop = {place} * 600")
        bottoms = page.evaluate(BOTTOMS)
        assert len(bottoms) >= 2
        assert all(footer <= card + 1 for footer, card in bottoms)


def test_the_page_runs_no_script_but_its_own(address: str, watch: Callable[..., Watched]) -> None:
    watched = watch()
    page = watched.open(address)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.hacked = 1\">')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in watched.errors)
    watched.errors.clear()
