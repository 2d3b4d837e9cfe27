"""Objectives of others: what they may not return, and weights of their own."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from capfw import Captioner, load_spec, run
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import MissingWeights, PluginError
from capfw.core.protocols import WeightsFile
from capfw.core.registry import Registry

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("unweighted", "no loss with a weight other than 0"),
        ("none", "no loss with a weight other than 0"),
        ("detached", "no loss depends on what is trained"),
        ("changing", "the losses value for one batch and other, value for another"),
    ],
)
def test_losses_that_cannot_be_minimised_are_an_error_of_the_objective(
    mode: str, message: str, tiny: Write, odd_parts: Registry
) -> None:
    spec = load_spec(tiny(train={"objective": {"name": "odd", "mode": mode}}), registry=odd_parts)
    with pytest.raises(PluginError, match=message) as raised:
        run(spec, registry=odd_parts)
    assert raised.value.where == "/train/objective"


def test_two_losses_of_one_name_are_refused_and_one_of_each_name_is_not(tiny: Write, odd_parts: Registry) -> None:
    objective = {"name": "odd"}  # its loss is called "value"
    clashing = tiny(mapper={"name": "odd", "loss": "value"}, train={"objective": objective, "max_steps": 1})
    with pytest.raises(PluginError) as raised:
        run(load_spec(clashing, registry=odd_parts), registry=odd_parts)
    assert str(raised.value) == (
        "/mapper: mapper and objective both return a loss value.\n  Rename the mapper's loss, or use another objective."
    )
    own = tiny(mapper={"name": "odd", "loss": "square"}, train={"objective": objective, "max_steps": 1}, run_dir="own")
    run_dir = run(load_spec(own, registry=odd_parts), registry=odd_parts).run_dir
    [step] = [json.loads(line) for line in (run_dir / "log.jsonl").open() if json.loads(line)["event"] == "step"]
    assert step["losses"].keys() == {"square", "value"}


def test_weights_of_the_objective_are_trained_and_saved_and_captioning_needs_them_not(
    tiny: Write, odd_parts: Registry
) -> None:
    spec = load_spec(tiny(train={"objective": {"name": "odd", "mode": "scaled"}}), registry=odd_parts)
    run_dir = run(spec, registry=odd_parts).run_dir
    step = json.loads((run_dir / "checkpoints/last.json").read_text())["step"]
    scale = load_file(run_dir / f"checkpoints/step-{step}/weights.safetensors")["objective.scale"]
    assert float(scale) < 1
    written = json.loads((run_dir / "candidates/test.json").read_text())
    captions = evaluate_run(run_dir, registry=odd_parts).captions
    assert [captions[each["image_id"]][0].text for each in written] == [each["caption"] for each in written]
    Captioner.load(run_dir, registry=odd_parts, device="cpu")


def test_an_evaluation_needs_no_published_weights_of_the_objective(
    tiny: Write, odd_parts: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = importlib.import_module("odd_parts")
    needed: list[WeightsFile] = []
    members = {"published_weights": classmethod(lambda cls, config: needed)}
    monkeypatch.setattr(odd, "OddObjective", type("OddObjective", (odd.OddObjective,), members))
    objective = {"train": {"objective": {"name": "odd", "mode": "scaled"}}}
    run_dir = run(load_spec(tiny(**objective), registry=odd_parts), registry=odd_parts).run_dir
    needed.append(WeightsFile("weights", "far away", tmp_path / "far.safetensors"))
    assert evaluate_run(run_dir, registry=odd_parts).split == "test"
    with pytest.raises(MissingWeights) as raised:
        run(load_spec(tiny(**objective, run_dir="other"), registry=odd_parts), registry=odd_parts)
    assert raised.value.where == "/train/objective/weights"
