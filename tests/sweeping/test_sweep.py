"""Whole sweeps, trial by trial in processes: killed and continued, with failures, stopped by a signal."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from capfw.core.sweeping.intervals import Mean

from .conftest import BASE

Write = Callable[..., Path]
NUM_IMAGES = 12 + 4 + 4
LONG = {**BASE["train"], "epochs": 5000, "evaluate_every_epochs": 5000, "save_every_steps": 10**6}


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a sweep in a process of its own; kills it and all that it started after the test."""
    started: list[psutil.Process] = []

    def start(file: Path, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "capfw", "sweep", str(file), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        started.append(psutil.Process(process.pid))
        return process

    yield start
    for process in started:
        if process.is_running():
            for child in [*process.children(recursive=True), process]:
                child.kill()


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.05)


def finished(folder: Path) -> int:
    files = folder.glob("runs/*/environment.json")
    return sum(json.loads(file.read_text()).get("finished_at") is not None for file in files)


def alive(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The running trials of a sweep."""
    return [child for child in psutil.Process(process.pid).children() if child.status() != psutil.STATUS_ZOMBIE]


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for log in folder.glob("runs/*/log.jsonl") for line in log.read_text().splitlines()]


def saved_vit(folder: Path) -> dict[str, Any]:
    """An encoder with weights of its own: one with random weights is another encoder for each seed."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(image_size=16, patch_size=8, **sizes)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return {"name": "vit", "weights": str(folder), "features": "tokens"}


def test_a_sweep_that_is_killed_in_the_middle_continues_to_the_right_table(
    write: Write, start: Callable[..., subprocess.Popen[str]], capfw: Callable[..., Result], tmp_path: Path
) -> None:
    mappers = [BASE["mapper"], {"name": "perceiver", "prefix_length": 2, "num_layers": 1, "num_heads": 2}]
    file = write(
        base=BASE | {"encoder": saved_vit(tmp_path / "vit"), "train": {**BASE["train"], "epochs": 3}},
        grid={"/mapper": mappers, "/train/lr": [0.02, 0.0001]},
        seeds=[0, 1],
    )
    out = tmp_path / "out"
    first = start(file, "--jobs", "2")
    wait_for(lambda: finished(out) >= 1, "a finished trial")
    wait_for(lambda: bool(alive(first)), "the next trial")
    alive(first)[-1].kill()  # a trial alone ...
    wait_for(lambda: finished(out) >= 3, "more finished trials")
    left_behind = alive(first)
    first.kill()  # ... and the sweep alone, whose trials go on
    first.wait()
    assert finished(out) < 8

    again = capfw("sweep", file, "--jobs", "2")

    assert again.exit_code == 0, again.output
    assert re.search(r"\d of 8 trials were finished before\.", again.stderr)
    assert not any(process.is_running() and process.status() != "zombie" for process in left_behind)
    results = json.loads((out / "results.json").read_text())
    assert (results["num_finished"], results["num_failed"]) == (8, 0)
    expected = []
    for setting in results["settings"]:
        runs = [Path(trial["run_dir"]) for trial in setting["trials"]]
        assert [json.loads((run / "spec.json").read_text())["seed"] for run in runs] == [0, 1]
        values = [json.loads((run / "scores/val.json").read_text())["scores"]["CIDEr"] for run in runs]
        expected.append(Mean.of(values).mean)
        assert setting["score"]["mean"] == pytest.approx(sum(values) / 2)
    means = [setting["score"]["mean"] for setting in results["settings"]]
    assert means == sorted(expected, reverse=True)
    best = [Path(trial["run_dir"]) for trial in results["settings"][0]["trials"]]
    tests = [json.loads((run / "scores/test.json").read_text())["scores"]["CIDEr"] for run in best]
    assert results["test"]["CIDEr"]["values"] == tests
    [compare] = re.findall(r"^Compare the two best: capfw (compare .*)$", again.stdout, re.MULTILINE)
    compared = capfw(*shlex.split(compare))
    assert compared.exit_code == 0, compared.output
    assert f"{means[0]:.4f}" in compared.stdout
    new = [re.search(r"features of \d+ images, (\d+) of them new", str(event.get("text"))) for event in events(out)]
    assert sum(int(found[1]) for found in new if found) == NUM_IMAGES  # every image was encoded once, by one trial


def test_a_failed_trial_is_recorded_stops_no_other_and_is_tried_again(
    write: Write, capfw: Callable[..., Result], tmp_path: Path
) -> None:
    # No parameter of the mapper begins so, which shows when the model is built.
    file, out = write(list=[{"/train/tune/mapper": {"only": ["outputt"]}}, {}]), tmp_path / "out"

    done = capfw("sweep", file)

    assert done.exit_code == 1
    settings = json.loads((out / "results.json").read_text())["settings"]
    sound, failed = (trial for setting in settings for trial in setting["trials"])
    assert (sound["name"], sound["state"], failed["state"]) == ("base", "finished", "failed")
    assert failed["error"].startswith('/train/tune/mapper/only: no parameter begins with "outputt".\n  Use one of ')
    assert f"Failed: {failed['name']}: {failed['error']}" in done.stdout
    assert failed["error"] in (out / "logs" / f"{failed['name']}.log").read_text()

    before = (out / "runs/base/log.jsonl").read_bytes()
    again = capfw("sweep", file)
    assert (again.exit_code, (out / "runs/base/log.jsonl").read_bytes()) == (1, before)
    assert "1 of 2 trials were finished before." in again.stderr


def test_a_signal_stops_the_sweep_after_a_checkpoint_and_it_goes_on_from_there(
    write: Write, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    file = write(base=BASE | {"train": LONG}, grid={"/train/lr": [0.01, 0.02]})
    process = start(file)
    log = tmp_path / "out/runs/lr-0.01/log.jsonl"
    wait_for(lambda: log.is_file() and '"step"' in log.read_text(), "training")
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "lr-0.01: stopped" in printed
    assert "stopped with 0 of 2 trials finished; the others continue where they stopped." in printed
    assert "Run the same command again to continue." in printed
    assert not (tmp_path / "out/failed").exists()
    step = json.loads((tmp_path / "out/runs/lr-0.01/checkpoints/last.json").read_text())["step"]
    assert step > 0

    process = start(file)
    wait_for(
        lambda: any(event["event"] == "step" and event["step"] > step for event in events(tmp_path / "out")), "more"
    )
    started = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["is_resumed"] for event in started if event["event"] == "run_started"] == [False, True]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
