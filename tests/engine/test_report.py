"""`report.html`: the table of epochs, and the cards of the images."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from capfw import Evaluation, load_spec, run
from capfw.core.engine.observing.json_log import JsonLog
from capfw.core.engine.observing.report import write_report
from capfw.core.engine.run_directory import RunDirectory
from capfw.core.protocols import EpochEnded, FileSource, MemorySource, Sample
from capfw.core.registry import Registry

Write = Callable[..., Path]


def epochs_in(report: str) -> list[tuple[str, ...]]:
    """Epoch, training loss and validation loss, row by row."""
    return re.findall(r"<tr><td>(\d+)</td><td>([\d.]+)</td>\s*<td>([\d.]*)</td></tr>", report)


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
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    spec = load_spec(tiny(train={"max_steps": 1}), registry=registry)
    result = run(spec, registry=registry)
    assert result.evaluation is not None
    (first, _), (second, _), (third, _), *_ = result.evaluation.captions.items()
    png = io.BytesIO()
    Image.new("RGB", (1000, 500), "red").save(png, "PNG")
    samples = [
        Sample(first, MemorySource(png.getvalue()), ("a picture",)),
        Sample(second, MemorySource(b"RIFF....WAVEfmt "), ("a sound",)),
        Sample(third, FileSource(tmp_path / "gone.png"), ("a file that has gone",)),
    ]
    evaluation: Evaluation = replace(result.evaluation, per_image={})
    page = write_report(RunDirectory(result.run_dir), spec, evaluation, samples).read_text()
    assert page.count('<div class="card">') == 3
    assert all(f"<li>{sample.references[0]}</li>" in page for sample in samples)
    assert page.count("<img") == 1
    assert f'alt="image {first}"' in page
    assert len(re.search(r"data:image/jpeg;base64,([^\"]+)", page)[1]) < 4_000
