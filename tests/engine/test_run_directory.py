"""A run directory that cannot be used: one mistake has one message and one exit code, whichever command meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw import Captioner, load_spec, run
from capfw.cli import main
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import RequestError
from capfw.core.registry import Registry

Write = Callable[..., Path]


def capfw(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refusals(run_dir: Path, registry: Registry, image: Path) -> list[str]:
    """Returns how caption, evaluate and both in Python refuse this run directory; asserts the exit codes and no new file."""
    Image.new("RGB", (20, 20)).save(image)
    before = sorted(run_dir.rglob("*"))
    commands = [capfw("caption", image, "--run", run_dir), capfw("evaluate", run_dir)]
    assert [(result.exit_code, result.stdout) for result in commands] == [(2, "")] * 2
    said = [result.stderr.strip() for result in commands]
    for function in (Captioner.load, evaluate_run):
        with pytest.raises(RequestError) as caught:
            function(run_dir, registry=registry)
        said.append(str(caught.value))
    assert sorted(run_dir.rglob("*")) == before
    return said


def test_caption_and_evaluate_refuse_alike_what_is_not_a_run_directory(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for run_dir in (tmp_path / "folder", tmp_path / "nowhere"):
        said = set(refusals(run_dir, registry, tmp_path / "a.png"))
        assert said == {
            f"{run_dir}: this is not a run directory: it has no spec.json.\n"
            "  Name the folder that `capfw run` wrote (/run_dir in the spec)."
        }


def test_caption_and_evaluate_refuse_alike_a_run_that_is_not_trained(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    run_dir = run(load_spec(tiny(), registry=registry), registry=registry, until="extract").run_dir
    said = set(refusals(run_dir, registry, tmp_path / "a.png"))
    assert said == {f"{run_dir}: this run is not trained yet.\n  Finish it first: capfw run {run_dir / 'spec.json'}"}


def test_a_run_directory_of_an_earlier_version_is_refused_with_its_format(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"max_steps": 1}), registry=registry)
    run(spec, registry=registry)
    file = spec.run_dir / "environment.json"
    facts = json.loads(file.read_text())
    del facts["format"]
    file.write_text(json.dumps(facts))
    for use in (lambda: run(spec, registry=registry), lambda: Captioner.load(spec.run_dir, registry=registry)):
        with pytest.raises(
            RequestError, match=r"format 1, and this version of capfw reads format 2[\s\S]*another /run_dir"
        ):
            use()


def test_a_device_that_is_not_here_is_a_wrong_request(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    run_dir = run(load_spec(tiny(train={"max_steps": 1}), registry=registry), registry=registry, until="train").run_dir
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    refused = capfw("caption", tmp_path / "a.png", "--run", run_dir, "--device", "banana")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert '--device: this machine has no device "banana"' in refused.stderr
