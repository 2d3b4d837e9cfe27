"""Measures the page of `capfw view`: the size of an export, and the time in which Chromium opens it from disk.

    python bench/viewing.py DATA [--images 5000] [--keep DIR]

DATA is a folder with images/test/ and annotations/captions_test.json (Flickr8k). Its images are repeated under new ids. Two
systems caption each image with one of its references, so that the page has texts of the usual length. Every repetition is
a file of its own: nothing is counted once only. Needs Chromium and capfw[browser].
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from capfw.core.protocols import FileSource
from capfw.core.viewing.collection import Candidate, Collection, System, ViewedImage
from capfw.core.viewing.export import export

# The time of the frames while the page is scrolled by a screen at a time, in milliseconds.
SCROLL = """() => new Promise((resolve) => {
  const scroller = document.querySelector("#scroller");
  const times = [];
  let last = performance.now();
  const step = (now) => {
    times.push(now - last);
    last = now;
    if (times.length > 240) return resolve(times.slice(1));
    scroller.scrollTop += 300;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def repeated(data: Path, num_images: int) -> Collection:
    """The images of split test, again and again, with two systems."""
    content = json.loads((data / "annotations/captions_test.json").read_text(encoding="utf-8"))
    references: dict[int, list[str]] = {}
    for entry in content["annotations"]:
        references.setdefault(entry["image_id"], []).append(entry["caption"])
    files = [image for image in content["images"] if (data / "images/test" / image["file_name"]).is_file()]
    rng = random.Random(0)
    images = []
    for number in range(num_images):
        image = files[number % len(files)]
        texts = tuple(references[image["id"]])
        source = FileSource(data / "images/test" / image["file_name"])
        images.append(ViewedImage(number, texts, image["file_name"], source))
    return Collection(
        "first · second", "test", images, [_system(name, images, rng) for name in ("first", "second")], "CIDEr"
    )


def _system(name: str, images: list[ViewedImage], rng: random.Random) -> System:
    candidates = {}
    for image in images:
        words = rng.choice(image.references).split()
        tokens = [(" " * bool(place) + word, -rng.expovariate(1)) for place, word in enumerate(words)]
        others = [(text, -rng.uniform(5, 30)) for text in image.references[:2]]
        total = sum(value for _, value in tokens)
        candidates[image.image_id] = Candidate(" ".join(words), total, [*tokens, ("", -0.1)], others)
    names = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")
    per_image = {score: {image.image_id: rng.betavariate(2, 3) for image in images} for score in names}
    return System(name, name, candidates, dict.fromkeys(names, 0.4), per_image)


def seconds_to(page: Page, address: str, sign: str) -> float:
    """Seconds from the begin of the navigation to an element."""
    page.goto("about:blank")
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(sign)
    return time.perf_counter() - started


def main() -> None:
    """Prints sizes and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--picture-side", type=int, default=448, help="as in capfw view; 0 leaves the pictures out")
    parser.add_argument("--keep", type=Path, help="write the page here, and keep it")
    chosen = parser.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp()) / "page"
    started = time.perf_counter()
    index = export(repeated(chosen.data, chosen.images), folder, picture_side=chosen.picture_side)
    print(f"export of {chosen.images:,} images: {time.perf_counter() - started:.1f} s")
    for name in ("pictures", "data"):
        size = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        print(f"  {name}: {size / 1e6:.1f} MB")
    print(f"  all: {sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:.1f} MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print(f"Chromium {browser.version}, 1300 x 850, from file://")
        times = []
        for _ in range(5):
            page = browser.new_context(viewport={"width": 1300, "height": 850}).new_page()
            times.append(seconds_to(page, index.as_uri(), "body[data-ready=true] .card"))
        print(f"  opens in {statistics.median(times):.2f} s (median of 5; {min(times):.2f} to {max(times):.2f})")
        frames = sorted(page.evaluate(SCROLL))
        median, slow = (frames[len(frames) * share // 100] for share in (50, 95))
        print(f"  frames while scrolling: median {median:.0f} ms, 95 % below {slow:.0f} ms")
        started = time.perf_counter()
        page.fill("#search", "dog")
        page.wait_for_selector("#count:has-text(' of ')")
        print(f"  first search: {time.perf_counter() - started:.2f} s")
        started = time.perf_counter()
        page.select_option("#sort", "diff:CIDEr")
        page.wait_for_selector(".card")
        print(f"  sort by the difference: {time.perf_counter() - started:.2f} s")
        browser.close()
    if chosen.keep is None:
        shutil.rmtree(folder.parent)


if __name__ == "__main__":
    main()
