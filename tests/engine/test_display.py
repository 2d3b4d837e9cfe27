"""A run in Python shows its progress where somebody looks, and its objects are one line each."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from capfw import Captioner, Evaluation, Registry, RunResult, evaluate_run, load_spec, run
from capfw.core.engine.generate import Caption, ImageCaptions
from capfw.core.engine.observing.progress import ProgressDisplay
from capfw.core.protocols import Progress

Write = Callable[..., Path]
PICTURES = [Image.new("RGB", (16, 16), (30 * number, 0, 0)) for number in range(5)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal can move its cursor."""
    monkeypatch.setenv("TERM", "xterm")


def shown(work: Callable[[], object], stream: type[io.StringIO] = Terminal) -> str:
    """Returns the text that `work` writes to stderr, which is a terminal or a file."""
    with redirect_stderr(stream()) as written:
        work()
    return written.getvalue()


def test_a_run_shows_progress_on_a_terminal_once(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"epochs": 1}), registry=registry)
    assert shown(lambda: run(spec, registry=registry, progress=False, until="extract")) == ""
    trained = shown(lambda: run(spec, registry=registry, until="train"))
    assert trained.count("epoch 1 of 1: train loss") == 1
    assert "caption val" in trained
    assert "caption val" in shown(lambda: evaluate_run(spec.run_dir, "val", registry=registry))

    def with_own_display() -> None:
        with ProgressDisplay() as own:
            run(spec, registry=registry, observers=[own], progress=True)

    assert shown(with_own_display).count("Continuing in") == 1


def test_a_run_shows_progress_elsewhere_if_asked(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"max_steps": 1}), registry=registry)
    assert shown(lambda: run(spec, registry=registry, until="train"), io.StringIO) == ""
    written = shown(lambda: run(spec, registry=registry, progress=True), io.StringIO)
    assert f"Continuing in {spec.run_dir}" in written
    assert shown(lambda: evaluate_run(spec.run_dir, registry=registry), io.StringIO) == ""
    written = shown(lambda: evaluate_run(spec.run_dir, registry=registry, progress=True), io.StringIO)
    assert "caption test: 4 of 4 images" in written


def test_captioning_shows_progress_from_the_second_batch_on(captioner: Captioner) -> None:
    for quiet in (
        lambda: captioner.caption(PICTURES),
        lambda: captioner.caption(PICTURES[0]),
        lambda: captioner.caption(iter(PICTURES)),
        lambda: captioner.caption(PICTURES, batch_size=2, progress=False),
    ):
        assert shown(quiet) == ""
    assert "5/5" in shown(lambda: captioner.caption(PICTURES, batch_size=2))
    assert "5/?" in shown(lambda: captioner.caption((each for each in PICTURES), batch_size=2))


def test_captioning_shows_progress_elsewhere_if_asked(captioner: Captioner) -> None:
    assert shown(lambda: captioner.caption(PICTURES, batch_size=2), io.StringIO) == ""
    written = shown(lambda: captioner.caption(PICTURES, progress=True), io.StringIO)
    assert written.startswith("caption: 5 of 5 images")


def test_a_notebook_shows_one_line_that_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[list[str]] = []

    class Handle:
        def __init__(self, line: str) -> None:
            self.shown = [line]
            lines.append(self.shown)

        def update(self, data: dict[str, str], *, raw: bool) -> None:
            self.shown.append(data["text/plain"])

    module: Any = ModuleType("IPython.display")
    module.display = lambda data, *, raw, display_id: Handle(data["text/plain"])
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with ProgressDisplay(Console(force_jupyter=True)) as display:
        assert display.is_watched
        for stage in ("extract train", "extract val"):
            for done in (2, 2, 4):  # the rate needs some time; the last one is always shown
                display.progressed(Progress(stage, done, 4, "images"))
    assert [shown[-1].split(" images")[0] for shown in lines] == ["extract train: 4 of 4", "extract val: 4 of 4"]
    assert capsys.readouterr().out == ""


def test_parameters_are_counted_by_part_and_stored_as_numbers(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"epochs": 1, "tune": {"mapper": {}, "decoder": None}}), registry=registry)
    result = run(spec, registry=registry)
    captioner = Captioner.load(result.run_dir, device="cpu", registry=registry)
    assert isinstance(captioner.encoder, nn.Module)
    sizes = {
        "encoder": sum(p.numel() for p in captioner.encoder.parameters()),
        "mapper": sum(p.numel() for p in captioner.model.mapper.parameters()),
        "decoder": sum(p.numel() for p in captioner.model.decoder.parameters()),
        "objective": 0,
    }
    stored = json.loads((result.run_dir / "environment.json").read_text())["parameters"]
    assert stored["by_part"] == {
        name: {"trained": size if name == "mapper" else 0, "total": size} for name, size in sizes.items()
    }
    assert (stored["trained"], stored["total"]) == (sizes["mapper"], sum(sizes.values()))
    assert (result.num_trained, result.num_parameters) == (stored["trained"], stored["total"])
    again = run(spec, registry=registry)
    assert (again.num_trained, again.num_parameters) == (stored["trained"], stored["total"])
    total, trained = f"{stored['total']:,}", f"{stored['trained']:,}"
    assert repr(captioner) == (
        f"Captioner({str(result.run_dir)!r}, encoder vit, mapper transformer, decoder gpt2, "
        f"{total} parameters ({trained} trained), on cpu)"
    )
    assert f"trained {trained} of {total} parameters, took " in repr(result)
    assert f"trained {trained} of {total} parameters, finished at 20" in repr(again)


class Other(nn.Module):
    prefix_length = 2

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.expand(-1, 2, -1)


def test_a_captioner_names_its_parts_and_those_that_were_replaced(captioner: Captioner) -> None:
    assert "encoder vit, mapper linear, decoder gpt2, " in repr(captioner)
    changed = captioner.with_parts(mapper=Other())
    assert "encoder vit, mapper Other, decoder gpt2, " in repr(changed)
    html = changed._repr_html_()
    assert "<td>mapper</td><td>Other</td>" in html
    assert "<td>device</td><td>cpu</td>" in html


def test_results_are_one_line_and_a_table_in_a_notebook() -> None:
    captions = {1: ImageCaptions([Caption("<b>", -1.23456)])}
    evaluation = Evaluation("test", 12, {"CIDEr": 1.23456, "<i>": 0.5}, {}, captions, {})
    assert repr(evaluation) == "Evaluation(test, step 12, 1 images: CIDEr 1.2346, <i> 0.5000)"
    html = evaluation._repr_html_()
    assert html.startswith("<table><caption>test, step 12, 1 images</caption>")
    assert "<td>CIDEr</td><td>1.2346</td></tr><tr><td>&lt;i&gt;</td>" in html
    result = RunResult(Path("runs/<a>"), evaluation, 2.34, None, 1200, 34000)
    assert repr(result) == (
        "RunResult('runs/<a>', test: CIDEr 1.2346, <i> 0.5000, trained 1,200 of 34,000 parameters, took 2.3 s)"
    )
    assert "<caption>runs/&lt;a&gt;, test</caption>" in result._repr_html_()
    assert "<td>trained</td><td>1,200 of 34,000 parameters</td>" in result._repr_html_()
    assert repr(RunResult(Path("a"), None, 1.0)) == "RunResult('a', not evaluated, took 1.0 s)"
    assert "<td>&lt;b&gt;</td><td>log-probability -1.23</td>" in captions[1]._repr_html_()
