"""A small collection of two systems, and a real browser that notes every request and every error."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from capfw import load_spec, run
from capfw.core.protocols import MemorySource
from capfw.core.viewing.collection import Candidate, Collection, Progress, System, ViewedImage
from capfw.core.viewing.curves import Curve
from capfw.core.viewing.export import export

from ..tiny_parts import GPT2, VIT

NUM_IMAGES = 120
THINGS = ("dog", "cat", "horse", "boat", "kite")


def picture(colour: str, size: tuple[int, int] = (60, 40)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return written.getvalue()


def small_collection() -> Collection:
    """Image i has CIDEr i / 100 in system "first", and 0.6 in "second"; its things repeat every five images."""
    red = picture("red")
    images = [
        ViewedImage(
            f"photo-{i:03d}", (f"a {THINGS[i % 5]} outside", f"one {THINGS[i % 5]}"), f"{i}.png", MemorySource(red)
        )
        for i in range(NUM_IMAGES)
    ]
    ids = [image.image_id for image in images]
    first = {
        image_id: Candidate(
            f"a {THINGS[i % 5]} number {i}",
            -i / 10 - 0.1,
            [("a", -0.1), (f" {THINGS[i % 5]}", -3.0), (" num", -0.5), ("ber", -0.25), (f" {i}", -0.2), ("", -0.05)],
            [(f"the {THINGS[i % 5]}", -4.5)],
        )
        for i, image_id in enumerate(ids)
    }
    second = {image_id: Candidate("a thing", -1.0) for image_id in ids}
    return Collection(
        "first · second",
        "test",
        images,
        [
            System(
                "first",
                "runs/first",
                first,
                {"CIDEr": 0.595},
                {"CIDEr": {image_id: i / 100 for i, image_id in enumerate(ids)}},
                {"checkpoint": "step 10"},
                {"seed": 1, "mapper": {"name": "mlp"}},
                {"device": "cpu"},
                [Curve("Training loss", "step", "nats per token", [(1, 3.0), (2, 2.0)])],
                [Progress("val-1", "a hat", [(1, "a a a"), (2, "a hat")])],
                ["a warning of the run"],
            ),
            System(
                "second",
                "runs/second",
                second,
                {"CIDEr": 0.6},
                {"CIDEr": dict.fromkeys(ids, 0.6)},
                {"checkpoint": "step 20"},
                {"seed": 1, "mapper": {"name": "linear"}},
                {"device": "cpu"},
            ),
        ],
        "CIDEr",
    )


@dataclass
class Watched:
    """A page, with the addresses that it asked for and the errors that it printed."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, address: str) -> Any:
        self.page.goto("about:blank")
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready=true]")
        return self.page

    @property
    def count(self) -> str:
        return str(self.page.text_content("#count"))

    def first_ids(self, most: int = 3) -> list[str]:
        """The ids on the first cards, in the order of the grid."""
        self.page.wait_for_selector(".card")
        cards = self.page.query_selector_all(".card")
        placed = sorted((int(card.get_attribute("data-place")), card) for card in cards)
        return [card.query_selector(".id").text_content() for _, card in placed[:most]]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, or another one on the path."""
    sync_api = pytest.importorskip("playwright.sync_api", reason='needs playwright: pip install "capfw[browser]"')
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def watch(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """Makes pages of a size. At the end none may have asked another machine for anything, or printed an error."""
    made: list[Watched] = []

    def make(width: int = 1300, height: int = 850, **options: Any) -> Watched:
        page = chromium.new_page(viewport={"width": width, "height": height}, **options)
        watched = Watched(page)
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("console", lambda message: message.type == "error" and watched.errors.append(message.text))
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("dialog", lambda dialog: (watched.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.set_default_timeout(10_000)
        made.append(watched)
        return watched

    yield make
    for watched in made:
        watched.page.close()
        assert watched.errors == []
        kept = ("about:", "data:", "file://", "http://127.0.0.1:")
        assert [url for url in watched.requests if not url.startswith(kept)] == []


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the export of the small collection."""
    return export(small_collection(), tmp_path_factory.mktemp("site") / "page").as_uri()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Collection], str]:
    """Exports a collection and returns its address."""
    return lambda collection: export(collection, tmp_path / "page").as_uri()


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two finished tiny runs over the same images: mapper linear and mapper mlp."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("linear", "mlp"):
        spec = {
            "capfw": 1,
            "data": {"name": "shapes", "num_train": 8, "num_val": 3, "num_test": 4, "image_size": 32},
            "features": {"num_workers": 0},
            "encoder": {**VIT, "features": "pooled"},
            "mapper": {"name": name, "prefix_length": 2},
            "decoder": GPT2,
            "train": {"epochs": 1},
            "generate": {"method": "beam", "num_beams": 2, "num_captions": 2, "max_tokens": 12},
            "metrics": [{"name": "bleu"}, {"name": "cider"}],
            "run_dir": str(folder / name),
        }
        run(load_spec(spec))
    return folder / "linear", folder / "mlp"
