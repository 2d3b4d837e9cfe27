"""`report.html`: its charts and tables, which images it shows, and that it is one file which runs and loads nothing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from capfw import Evaluation, RunSpec, load_spec, run
from capfw.core.engine.generate import Caption
from capfw.core.engine.observing.json_log import JsonLog
from capfw.core.engine.observing.report import write_report
from capfw.core.engine.run_directory import RunDirectory
from capfw.core.protocols import (
    EpochEnded,
    Evaluated,
    FileSource,
    ImageId,
    MemorySource,
    Notice,
    Sample,
    StepEnded,
)
from capfw.core.registry import Registry

Write = Callable[..., Path]
HOSTILE = "</p><script>alert(1)</script><img src=x onerror=\"alert('2')\"> & more"


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text. Fails if an element is left open."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(file.read_text())
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[RunSpec, Evaluation]:
    """A spec in whose run directory there is nothing but the facts of a run, and an evaluation without images."""
    from .conftest import TINY

    folder = tmp_path_factory.mktemp("report")
    (folder / "spec.json").write_text(json.dumps(TINY))
    spec = load_spec(folder / "spec.json", registry=registry)
    signature = {"num_images": 0, "num_references": 0, "generate": {"method": "greedy"}}
    return spec, Evaluation("test", 4, {"CIDEr": 0.5}, {}, {}, signature)


def with_images(
    evaluation: Evaluation, values: Sequence[float], text: str = "a cat"
) -> tuple[Evaluation, list[Sample]]:
    """The evaluation with an image and a CIDEr for each value, whose ids are their places."""
    samples = [Sample(i, MemorySource(b"no image"), (f"reference of {i}",)) for i in range(len(values))]
    captions: dict[ImageId, tuple[Caption, ...]] = {i: (Caption(text, -1.0),) for i in range(len(values))}
    return replace(evaluation, captions=captions, per_image={"CIDEr": dict(enumerate(values))}), samples


def epochs_in(report: str) -> list[tuple[str, ...]]:
    """Epoch, training loss and validation loss, row by row."""
    return re.findall(r"<tr[^>]*><td>(\d+)</td><td>([\d.]+)</td>\s*<td>([\d.]*)</td>", report)


def test_report_of_a_run_has_labelled_charts_and_its_best_checkpoint(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"epochs": 3, "best_by": "CIDEr"}), registry=registry)
    result = run(spec, registry=registry)
    page = Page(result.run_dir / "report.html")
    labels = [svg["aria-label"].partition(":")[0] for svg in page.all("svg")]
    scores = ["CIDEr", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L"]
    wanted = ["Training loss by step", "Validation loss by epoch", *(f"{name} by epoch" for name in scores)]
    assert labels == wanted
    assert page.text.count("best checkpoint") == len(wanted) - 1
    assert page.text.count("nats per token\n") == 2
    assert "All 4 images of split test, from the lowest CIDEr to the highest." in page.text
    assert "None: every image of every split was read." in page.text


def test_page_runs_no_script_and_loads_nothing(finished: tuple[RunSpec, Evaluation], tmp_path: Path) -> None:
    """Captions, references, sources, scores and warnings may hold anything."""
    spec, evaluation = finished
    evaluation, samples = with_images(evaluation, [1.0, 2.0], HOSTILE)
    samples = [replace(sample, references=(HOSTILE,)) for sample in samples]
    directory = RunDirectory(tmp_path)
    directory.record(features={"unreadable": {"train": {HOSTILE: HOSTILE}}})
    log = JsonLog(tmp_path / "log.jsonl")
    log.step_ended(StepEnded(1, 2, 1, 3.0, 0.1, 1.0, 9.0, {"cross-entropy": 1.0, HOSTILE: 2.0}))
    log.evaluated(Evaluated("val", 1, {HOSTILE: 0.5}, True))
    log.epoch_ended(EpochEnded(1, 2, 1.25, 2.5))
    log.noticed(Notice("warning", HOSTILE))
    splits = {"train": [Sample(HOSTILE, MemorySource(b"", HOSTILE), ())], "test": samples}
    page = Page(write_report(directory, spec, replace(evaluation, scores={HOSTILE: 0.5}), splits))
    assert {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "img", "base"} == set()
    assert not any(name.startswith("on") or name == "href" for _, each in page.elements for name in each)
    [policy] = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:")
    assert page.text.count(HOSTILE) >= 2 + 2 + 3 + 2 + 1 + 1  # captions, references, the table, titles, score, warning


@pytest.mark.parametrize(("count", "shown"), [(60, 60), (61, 60), (200, 60)])
def test_report_says_how_many_images_it_shows_and_how_they_were_chosen(
    finished: tuple[RunSpec, Evaluation], count: int, shown: int, tmp_path: Path
) -> None:
    spec, evaluation = finished
    evaluation, samples = with_images(evaluation, [float(count - i) for i in range(count)])
    page = Page(write_report(RunDirectory(tmp_path), spec, evaluation, {"test": samples}))
    assert len(re.findall(r"image \d+, CIDEr", page.text)) == shown
    values = [float(value) for value in re.findall(r", CIDEr ([\d.]+)", page.text)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (1.0, count)
    if shown == count:
        assert "All 60 images of split test, from the lowest CIDEr to the highest." in page.text
    else:
        assert (
            f"60 of {count} images of split test: 20 with the lowest CIDEr, 20 from the middle, and 20 with the highest."
            in page.text
        )
        assert "candidates/test.json has the captions of all images" in page.text


def test_images_without_scores_are_chosen_from_beginning_middle_and_end(
    finished: tuple[RunSpec, Evaluation], tmp_path: Path
) -> None:
    spec, evaluation = finished
    evaluation, samples = with_images(evaluation, [0.0] * 90)
    file = write_report(RunDirectory(tmp_path), spec, replace(evaluation, per_image={}), {"test": samples})
    page = Page(file)
    assert "60 of 90 images of split test: the first 20, 20 from the middle, and the last 20." in page.text
    ids = list(map(int, re.findall(r"image (\d+),", page.text)))
    assert ids == [*range(20), *range(35, 55), *range(70, 90)]


def test_report_lists_images_that_could_not_be_read(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    rows = []
    for split in ("train", "val", "test"):
        for i in range(3):
            name = f"{split}{i}.png"
            Image.new("RGB", (32, 32), "red").save(tmp_path / name)
            rows.append(f"{name},a red square,{split}")
    (tmp_path / "train1.png").write_bytes(b"not an image")
    (tmp_path / "test2.png").write_bytes(b"")
    (tmp_path / "captions.csv").write_text("file,caption,split\n" + "\n".join(rows) + "\n")
    spec = tiny(data={"name": "csv", "captions": "captions.csv", "images": "."}, train={"max_steps": 1})
    result = run(load_spec(spec, registry=registry), registry=registry)
    page = (result.run_dir / "report.html").read_text()
    assert "The run left out 2 images that could not be read." in page
    cells = re.findall(r"<td>(train|test)</td><td>[^<]*</td><td>([^<]*)</td><td>([^<]+)</td>", page)
    assert [(split, Path(source).name) for split, source, _ in cells] == [
        ("train", "train1.png"),
        ("test", "test2.png"),
    ]
    assert [reason for _, _, reason in cells] == [
        "cannot decode the image: the bytes are no image of a format that Pillow reads",
        "cannot decode the image: there are no bytes",
    ]
    assert "is skipped" not in page, "the warning repeats the table"


def test_warnings_of_the_run_are_listed_once(finished: tuple[RunSpec, Evaluation], tmp_path: Path) -> None:
    spec, evaluation = finished
    log = JsonLog(tmp_path / "log.jsonl")
    for _ in range(2):
        log.noticed(Notice("warning", "captions.csv: 3 rows were skipped"))
    log.noticed(Notice("info", "features of 3 images"))
    page = Page(write_report(RunDirectory(tmp_path), spec, evaluation, {"test": []}))
    assert page.text.count("captions.csv: 3 rows were skipped") == 1
    assert "features of 3 images" not in page.text


def test_numbers_of_parameters_are_shown_where_the_run_recorded_them(
    finished: tuple[RunSpec, Evaluation], tmp_path: Path
) -> None:
    spec, evaluation = finished
    directory = RunDirectory(tmp_path)
    assert "parameters were trained" not in Page(write_report(directory, spec, evaluation, {"test": []})).text
    directory.record(parameters={"trained": 1_154_432, "total": 2_000_000})
    page = Page(write_report(directory, spec, evaluation, {"test": []}))
    assert "1,154,432 of 2,000,000 parameters were trained." in page.text


def test_a_record_without_a_loss_does_not_take_the_place_of_one_with_it(tiny: Write, registry: Registry) -> None:
    """A run that is resumed at the end of an epoch logs it again, and its validation is not repeated."""
    spec = load_spec(tiny(train={"epochs": 2, "batch_size": 16}), registry=registry)
    run_dir = run(spec, registry=registry, until="train").run_dir
    log = JsonLog(run_dir / "log.jsonl")
    log.epoch_ended(EpochEnded(1, 2, 1.25, 2.5))
    log.epoch_ended(EpochEnded(1, 2, 1.5, None))
    log.epoch_ended(EpochEnded(2, 2, 0.75, None))
    log.epoch_ended(EpochEnded(2, 2, 0.5, 2.25))
    run(spec, registry=registry)
    assert epochs_in((run_dir / "report.html").read_text()) == [("1", "1.250", "2.500"), ("2", "0.500", "2.250")]


def test_an_epoch_that_was_not_validated_is_shown_by_its_last_record(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"epochs": 2, "evaluate_every_epochs": 2}), registry=registry)
    run_dir = run(spec, registry=registry, until="train").run_dir
    JsonLog(run_dir / "log.jsonl").epoch_ended(EpochEnded(1, 2, 1.5, None))
    run(spec, registry=registry)
    first, second = epochs_in((run_dir / "report.html").read_text())
    assert first == ("1", "1.500", "")
    assert second[2]


def test_an_image_has_a_small_picture_and_bytes_that_are_none_a_card_without_one(
    finished: tuple[RunSpec, Evaluation], tmp_path: Path
) -> None:
    spec, evaluation = finished
    evaluation, _ = with_images(evaluation, [1.0, 2.0, 3.0])
    png = io.BytesIO()
    Image.new("RGB", (1000, 500), "red").save(png, "PNG")
    samples = [
        Sample(0, MemorySource(png.getvalue()), ("a picture",)),
        Sample(1, MemorySource(b"RIFF....WAVEfmt "), ("a sound",)),
        Sample(2, FileSource(tmp_path / "gone.png"), ("a file that has gone",)),
    ]
    page = Page(write_report(RunDirectory(tmp_path), spec, evaluation, {"test": samples}))
    assert [each["class"] for each in page.all("div")].count("card") == 3
    assert all(sample.references[0] in page.text for sample in samples)
    [picture] = page.all("img")
    assert picture["alt"] == "image 0"
    assert picture["src"].startswith("data:image/jpeg;base64,")
    assert len(picture["src"]) < 4_000
    assert page.text.count("(no picture)") == 2
