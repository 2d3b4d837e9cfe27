"""Runs that go on: after a kill at an awkward moment, with more epochs, over other weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from capfw import load_spec, run
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import ComponentError, PluginError, RunError
from capfw.core.registry import Registry

Write = Callable[..., Path]


def _rates(run_dir: Path) -> dict[int, float]:
    lines = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["lr"] for line in lines if line["event"] == "step"}


def test_the_rates_of_more_epochs_are_those_of_a_run_that_had_them_from_the_start(
    tiny: Write, registry: Registry
) -> None:
    # The rate that is reported is that of the step after, so the weights show the first one.
    data, moved = {"num_train": 3}, {}
    for epochs in (1, 2):  # one step an epoch
        file = tiny(data=data, train={"epochs": epochs, "save_every_steps": 1, "best_by": "loss"})
        run_dir = run(load_spec(file, registry=registry), registry=registry).run_dir
        moved[epochs] = _val_loss(run_dir)
    assert _rates(run_dir)[2] == 0.0
    assert moved[2] != moved[1]  # the second step was none of rate 0


def _val_loss(run_dir: Path) -> float:
    lines = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return [line["val_loss"] for line in lines if line["event"] == "epoch"][-1]


def test_a_run_that_was_killed_as_it_got_more_epochs_trains_them(tiny: Write, registry: Registry) -> None:
    run_dir = run(load_spec(tiny(train={"epochs": 1}), registry=registry), registry=registry).run_dir
    environment = json.loads((run_dir / "environment.json").read_text())
    (run_dir / "environment.json").write_text(json.dumps({**environment, "is_trained": False, "finished_at": None}))
    run(load_spec(tiny(train={"epochs": 2}), registry=registry), registry=registry)
    assert json.loads((run_dir / "checkpoints/last.json").read_text())["epoch"] == 2


def test_a_run_does_not_go_on_over_other_frozen_weights(tiny: Write, registry: Registry) -> None:
    file = tiny(train={"tune": {"decoder": None}})
    run_dir = run(load_spec(file, registry=registry), registry=registry, until="extract").run_dir
    environment = json.loads((run_dir / "environment.json").read_text())
    (run_dir / "environment.json").write_text(json.dumps({**environment, "frozen_fingerprint": "of other weights"}))
    with pytest.raises(RunError, match="a frozen part of the mapper or decoder differs"):
        run(load_spec(file, registry=registry), registry=registry)


def test_a_context_that_was_interrupted_while_it_was_fitted_is_fitted_from_nothing(
    tiny: Write, odd_parts: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(tiny(context={"name": "count"}), registry=odd_parts)
    with monkeypatch.context() as patched:
        patched.setattr("odd_parts.Count.fails_now", True)
        with pytest.raises(KeyboardInterrupt):
            run(spec, registry=odd_parts)
    run(spec, registry=odd_parts)
    assert (spec.run_dir / "assets/context/count.txt").read_text() == "16"


def test_runs_of_different_precision_follow_each_other_in_one_process(tiny: Write, registry: Registry) -> None:
    for precision in ("float32", "bf16", "float32"):
        file = tiny(run_dir=f"{precision}-run", train={"precision": precision, "epochs": 1})
        run(load_spec(file, registry=registry), registry=registry)


def test_other_metrics_need_not_have_the_score_that_chose_the_checkpoint(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    run_dir = run(load_spec(tiny(), registry=registry), registry=registry).run_dir
    overrides = {"/metrics": [{"name": "rouge-l"}]}
    assert list(evaluate_run(run_dir, overrides=overrides, output=tmp_path / "o", registry=registry).scores) == [
        "ROUGE-L"
    ]


def test_an_encoder_without_weights_cannot_be_tuned(tiny: Write, odd_parts: Registry) -> None:
    file = tiny(encoder={"name": "odd"}, train={"tune": {"encoder": {}}})
    with pytest.raises(ComponentError, match="no parameters to train") as raised:
        run(load_spec(file, registry=odd_parts), registry=odd_parts)
    assert raised.value.where == "/train/tune/encoder"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_inputs_that_are_decoded_together_are_as_many_as_the_sources(
    num_workers: int, tiny: Write, odd_parts: Registry
) -> None:
    features = {"num_workers": num_workers, "batch_size": 8}
    run(load_spec(tiny(encoder={"name": "odd"}, features=features), registry=odd_parts), registry=odd_parts)
    file = tiny(encoder={"name": "odd", "loses_one": True}, features=features, run_dir="losing")
    with pytest.raises(PluginError, match="transform_batch gave 7 inputs for 8 sources"):
        run(load_spec(file, registry=odd_parts), registry=odd_parts)
