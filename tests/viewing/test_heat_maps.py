"""Heat maps on the page: asked for by a click, over the photo; computed by the server, or before by an export."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from capfw.cli import main
from capfw.core.errors import RequestError
from capfw.core.protocols import Source
from capfw.core.viewing.collection import Collection
from capfw.core.viewing.export import export
from capfw.core.viewing.server import Server, Viewer

from .conftest import Watched, small_collection


def collection_with_patches() -> Collection:
    """The small collection; the first system has patches."""
    small = small_collection()
    return replace(small, systems=[replace(small.systems[0], has_patches=True), small.systems[1]])


def left_and_right(system: int, source: Source, caption: str) -> Mapping[str, object]:
    """Maps of two patches side by side, over the middle half of the photo; no map for image 1."""
    if caption.endswith(" 1"):
        raise RequestError("the weights are gone.", where="/encoder", fix="Restore them.")
    words = [{"text": word, "map": [1.0, -0.5] if word == "a" else [0.0, 0.2]} for word in caption.split()]
    return {"grid": [1, 2], "box": [0.25, 0, 0.75, 1], "words": words}


def test_an_export_has_the_maps_of_chosen_images(watch: Callable[..., Watched], tmp_path: Path) -> None:
    collection = collection_with_patches()
    index = export(collection, tmp_path / "page", heat=left_and_right, heat_ids=["photo-000", "photo-001"])
    assert sorted(file.name for file in (tmp_path / "page/data").glob("heat-*")) == ["heat-0-0.js", "heat-1-0.js"]
    page = watch().open(index.as_uri() + "#image=photo-000")
    assert page.locator(".heat").count() == 1, "the second system has no patches"
    page.click("text=Heat maps of the words")
    page.click(".heat-word:text-is('a')")
    canvas, img = page.locator("canvas.heat-map"), page.locator(".stage img")
    box, photo = canvas.bounding_box(), img.bounding_box()
    assert box["x"] == pytest.approx(photo["x"] + photo["width"] / 4, abs=1)
    assert box["width"] == pytest.approx(photo["width"] / 2, abs=1)
    pixels = canvas.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 2, 1).data]")
    warm, cold = pixels[:4], pixels[4:]
    assert warm[0] > warm[2], "red raises the probability"
    assert cold[2] > cold[0], "blue lowers it"
    assert warm[3] > cold[3], "the larger value is the stronger colour"
    page.click(".heat-word:text-is('a')")
    assert canvas.count() == 0

    page.keyboard.press("ArrowRight")
    page.click("text=Heat maps of the words")
    page.locator(".heat:has-text('the weights are gone.')").wait_for()
    page.keyboard.press("ArrowRight")
    assert page.locator(".heat").count() == 0, "image 2 was not chosen"


def test_the_server_computes_maps_on_demand(watch: Callable[..., Watched]) -> None:
    asked = []

    def heat(system: int, source: Source, caption: str) -> Mapping[str, object]:
        asked.append((system, caption))
        return left_and_right(system, source, caption)

    with Server(Viewer(collection_with_patches, heat=heat)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = watch().open(server.address + "#image=photo-004")
        assert asked == []
        page.click("text=Heat maps of the words")
        page.click(".heat-word:text-is('kite')")
        page.locator("canvas.heat-map").wait_for()
        assert asked == [(0, "a kite number 4")]
        server.shutdown()


def test_ids_without_an_image_and_runs_without_patches_are_refused(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        export(collection_with_patches(), tmp_path / "page", heat=left_and_right, heat_ids=["photo-1"])
    assert caught.value.where == "--heat-maps"
    assert caught.value.what == "no image has the id photo-1."
    assert "photo-000" in str(caught.value.fix)
    assert not (tmp_path / "page").exists()

    arguments = ["view", str(two_runs[0]), "--output", str(tmp_path / "page"), "--heat-maps", "all"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "no run has a grid of patches" in result.stderr
