"""The whole path, through the public face."""

from __future__ import annotations

import fnmatch
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from capfw import CapfwError, Captioner, load_spec, run
from capfw.core.engine.observing.progress import ProgressDisplay
from capfw.core.engine.run import evaluate_run
from capfw.core.protocols import Progress
from capfw.core.registry import Registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Write = Callable[..., Path]
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# The tiny spec gives its decoder these options, which only random weights accept.
_OF_RANDOM_WEIGHTS = dict.fromkeys(("tokenizer", "num_layers", "width", "num_heads", "max_positions"))


def test_run_leaves_a_run_directory_and_a_second_call_repeats_nothing(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(), registry=registry)
    result = run(spec, registry=registry)
    directory = result.run_dir
    for name in ("spec.json", "environment.json", "log.jsonl", "report.html", "candidates/val.json", "scores/val.json"):
        assert (directory / name).is_file(), name
    candidates = json.loads((directory / "candidates/test.json").read_text())
    assert len(candidates) == 4
    assert {"image_id", "caption", "log_prob"} <= candidates[0].keys()
    assert load_spec(directory / "spec.json", registry=registry) == spec

    written = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != "log.jsonl"}
    again = run(spec, registry=registry)
    assert again.evaluation is not None
    assert again.evaluation.scores == result.evaluation.scores
    changed = [path for path, when in written.items() if path.is_file() and path.stat().st_mtime_ns != when]
    assert changed == []


def test_captioner_writes_the_candidates_of_the_run(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(), registry=registry)
    result = run(spec, registry=registry)
    dataset = spec.data.component.load()(spec.data.config)
    captioner = Captioner.load(result.run_dir, registry=registry, device="cpu")
    captions = captioner.caption([sample.source for sample in dataset.samples("test")])
    expected = [c["caption"] for c in json.loads((result.run_dir / "candidates/test.json").read_text())]
    assert [each[0].text for each in captions] == expected


def test_memorises_eight_images_word_for_word(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    colours = ["red", "lime", "blue", "yellow", "black", "white", "magenta", "cyan"]
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number, colour in enumerate(colours):
        Image.new("RGB", (20, 20), colour).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        annotations.append({"id": number, "image_id": number, "caption": f"a wall painted {colour} all over"})
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    data = {"name": "coco", "train": {"images": "images", "captions": "captions.json"}}
    file = tiny(
        data=data,
        train={"epochs": 200, "batch_size": 8, "lr": 0.005, "best_by": "loss"},
        features={"standardize": True},
        mapper={"dropout": 0.0},
        decoder={"dropout": 0.0, "width": 32},
    )
    spec = load_spec(file, registry=registry)
    result = run(spec, registry=registry)
    captions = Captioner.load(result.run_dir, registry=registry).caption(
        [tmp_path / "images" / f"{n}.png" for n in range(8)]
    )
    assert [each[0].text for each in captions] == [a["caption"] for a in annotations]


def test_another_spec_in_the_same_run_directory_is_refused(tiny: Write, registry: Registry) -> None:
    run(load_spec(tiny(), registry=registry), registry=registry, until="extract")
    changed = load_spec(tiny(train={"lr": 0.5}), registry=registry)
    with pytest.raises(CapfwError, match="/train/lr"):
        run(changed, registry=registry)


def test_a_run_that_failed_before_it_had_features_may_be_corrected(tiny: Write, registry: Registry) -> None:
    with pytest.raises(CapfwError, match="nobody/nothing"):
        run(load_spec(tiny(decoder={"weights": "nobody/nothing", **_OF_RANDOM_WEIGHTS}), registry=registry))
    corrected = load_spec(tiny(train={"max_steps": 1}), registry=registry)
    result = run(corrected, registry=registry)
    assert load_spec(result.run_dir / "spec.json", registry=registry) == corrected


def test_a_run_directory_or_output_that_cannot_be_written_is_named(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/run"):
        with pytest.raises(CapfwError, match="cannot be created or written") as caught:
            run(load_spec(tiny(run_dir=place), registry=registry), registry=registry)
        assert caught.value.where == str(tmp_path / place)
    result = run(load_spec(tiny(train={"max_steps": 1}), registry=registry), registry=registry)
    with pytest.raises(CapfwError, match="cannot be created: Not a directory"):
        evaluate_run(result.run_dir, output=tmp_path / "file", registry=registry)


def test_an_error_takes_the_bar_away_and_brings_the_cursor_back() -> None:
    written = io.StringIO()
    display = ProgressDisplay(Console(file=written, force_terminal=True, legacy_windows=False))

    def fail() -> None:
        with display:
            display.progressed(Progress("train", 1, 5, "steps"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert 0 <= written.getvalue().rfind(_HIDE_CURSOR) < written.getvalue().rfind(_SHOW_CURSOR)


def test_overlapping_splits_are_refused(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "7.png")
    (tmp_path / "c.json").write_text(
        json.dumps({"images": [{"id": 7, "file_name": "7.png"}], "annotations": [{"image_id": 7, "caption": "dark"}]})
    )
    part = {"images": ".", "captions": "c.json"}
    spec = load_spec(tiny(data={"name": "coco", "train": part, "test": part}), registry=registry)
    with pytest.raises(CapfwError, match=r"7 \(train and test\)"):
        run(spec, registry=registry)


def test_evaluate_repeats_the_scores_and_keeps_them_when_options_change(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    result = run(load_spec(tiny(), registry=registry), registry=registry)
    assert evaluate_run(result.run_dir, registry=registry).scores == result.evaluation.scores
    beams = {"/generate": {"method": "beam", "num_beams": 2, "num_captions": 2, "max_tokens": 9}}
    with pytest.raises(CapfwError, match="--output"):
        evaluate_run(result.run_dir, overrides=beams, registry=registry)
    with pytest.raises(CapfwError, match="/train/lr cannot change"):
        evaluate_run(result.run_dir, overrides={"/train/lr": 1.0}, output=tmp_path / "b", registry=registry)
    elsewhere = evaluate_run(
        result.run_dir, overrides={"/features/store": str(tmp_path / "elsewhere")}, registry=registry
    )
    assert elsewhere.scores == result.evaluation.scores
    assert list((tmp_path / "elsewhere").glob("*/shard-*"))
    kept = (result.run_dir / "candidates/test.json").read_bytes()
    changed = evaluate_run(result.run_dir, overrides=beams, output=tmp_path / "beams", registry=registry)
    assert all(len(captions) == 2 for captions in changed.captions.values())
    assert changed.signature["generate"]["num_beams"] == 2
    assert (tmp_path / "beams/candidates/test.json").is_file()
    assert (result.run_dir / "candidates/test.json").read_bytes() == kept


# A file that shows the stage has begun and that no earlier stage leaves: extraction, training, validation, training again,
# and the final evaluation, between its candidates and its scores.
STAGES = ("shard-*", "step-2", "best.json", "step-10", "test.json")


def _start(spec: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "capfw", "run", str(spec), "--json"]
    for override in overrides:
        command += ["--set", override]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def _wait_and_kill(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    """Kills the process as soon as something in `folder` matches, or lets it end when that is missed."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        # os.walk passes over folders that are renamed while it looks; rglob raises.
        if any(fnmatch.filter(files + folders, pattern) for _, folders, files in os.walk(folder)):
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    ("tune", "stages"),
    [({}, STAGES), pytest.param({"encoder": {"lr": 0.001}}, STAGES[1:], marks=pytest.mark.slow)],
    ids=["stored features", "tuned encoder"],
)
def test_a_run_killed_in_every_stage_ends_as_an_undisturbed_one(
    tiny: Write, tmp_path: Path, tune: dict[str, object], stages: tuple[str, ...]
) -> None:
    settings = {"train": {"epochs": 2, "batch_size": 16, "lr": 0.01, "save_every_steps": 2, "tune": tune}}
    file = tiny(**settings, data={"name": "shapes", "num_train": 24, "num_val": 4, "num_test": 4})
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed = _start(file, "/run_dir=a/run")
    output, errors = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, errors
    expected = json.loads(output)["scores"]

    killed = []
    for pattern in stages:
        process = _start(file, "/run_dir=b/run")
        _wait_and_kill(process, tmp_path / "b", pattern)
        killed.append(process.returncode)
    assert killed.count(-signal.SIGKILL) >= len(stages) - 1, killed
    final = _start(file, "/run_dir=b/run")
    output, errors = final.communicate(timeout=300)
    assert final.returncode == 0, errors
    assert json.loads(output)["scores"] == expected
    last = json.loads((tmp_path / "a/run/checkpoints/last.json").read_text())["step"]
    weights = [load_file(tmp_path / f"{x}/run/checkpoints/step-{last}/weights.safetensors") for x in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
