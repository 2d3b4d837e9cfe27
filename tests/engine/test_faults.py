"""Work that is not lost, and numbers that are not wrong: each of these went wrong once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from capfw import Captioner, hookimpl, load_spec, run
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import CapfwWarning, ComponentError, RunError
from capfw.core.protocols import Captioned, Component, ContextConfig, ImageId, MetricConfig, Notice, Sample, Scores
from capfw.core.registry import Registry

Write = Callable[..., Path]


class ErrorRateConfig(MetricConfig):
    """The metric has no options."""

    def score_names(self) -> tuple[str, ...]:
        return ("error-rate",)

    def lower_is_better(self) -> tuple[str, ...]:
        return ("error-rate",)


class ErrorRate:
    """Not a rate at all: 1, 2, 3, ... in the order in which it is asked, so that the first checkpoint is the best."""

    values: Iterator[float]

    def __init__(self, config: ErrorRateConfig) -> None: ...

    def score(self, captioned: Captioned) -> Scores:
        return Scores({"error-rate": next(type(self).values)})

    def signature(self) -> dict[str, str]:
        return {"variant": "counting"}


class CountConfig(ContextConfig):
    """The context has no options."""


class Count:
    """Learns how many training images there are."""

    def __init__(self, config: CountConfig, *, assets: Path) -> None:
        self.file = assets / "count.txt"

    def fit(self, samples: Sequence[Sample], features: object) -> None:
        self.file.write_text(str(len(samples)))

    def text(self, sample: Sample, features: object, *, excluding: ImageId) -> str:
        return self.file.read_text()


class Plugin:
    """Brings the metric and the context."""

    @hookimpl
    def register_contexts(self) -> list[Component]:
        return [Component("count", CountConfig, f"{__name__}:Count", "Counts images.", example=CountConfig())]

    @hookimpl
    def register_metrics(self) -> list[Component]:
        target = f"{__name__}:ErrorRate"
        return [Component("error-rate", ErrorRateConfig, target, "Counts.", example=ErrorRateConfig())]


class Notices:
    """An observer that keeps what a person is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @hookimpl
    def noticed(self, event: Notice) -> None:
        self.texts.append(event.text)


def _log(run_dir: Path, event: str) -> list[dict[str, object]]:
    lines = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize(("values", "best"), [([1.0, 2.0, 3.0, 9.0], 1), ([3.0, 2.0, 1.0, 9.0], 3)])
def test_a_score_of_which_less_is_better_keeps_the_checkpoint_with_the_least(
    values: list[float], best: int, tiny: Write, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    ErrorRate.values = iter(values)
    with_metric = registry.with_plugins(Plugin())
    train = {"epochs": 3, "best_by": "error-rate"}
    spec = load_spec(tiny(train=train, metrics=[{"name": "error-rate"}]), registry=with_metric)
    result = run(spec, registry=with_metric)
    steps_per_epoch = json.loads((result.run_dir / "checkpoints/last.json").read_text())["step"] // 3
    kept = json.loads((result.run_dir / "checkpoints/best.json").read_text())
    assert (kept["step"], kept["score"]) == (best * steps_per_epoch, values[best - 1])


def _this_module() -> object:
    class Module:
        pass

    module = Module()
    module.ErrorRate = ErrorRate
    return module


@pytest.mark.parametrize(("losses", "best"), [([float("nan"), 3.0, float("nan"), 9.0], 2)])
def test_a_score_that_is_no_number_is_not_the_best_for_ever(
    losses: list[float], best: int, tiny: Write, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_a_score_of_which_less_is_better_keeps_the_checkpoint_with_the_least(losses, best, tiny, registry, monkeypatch)


def test_training_does_not_go_on_from_nothing_when_last_json_is_gone(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(train={"epochs": 2}), registry=registry)
    run(spec, registry=registry)
    checkpoints = spec.run_dir / "checkpoints"
    (checkpoints / "last.json").unlink()
    environment = json.loads((spec.run_dir / "environment.json").read_text())
    (spec.run_dir / "environment.json").write_text(json.dumps({**environment, "is_trained": False}))
    with pytest.raises(RunError, match=r"last\.json is missing") as caught:
        run(spec, registry=registry)
    assert "delete" in str(caught.value)


def test_a_finished_run_says_so_and_names_the_code_that_changed_since(tiny: Write, registry: Registry) -> None:
    spec, notices = load_spec(tiny(), registry=registry), Notices()
    assert run(spec, registry=registry, observers=[notices]).finished_at is None
    assert not [text for text in notices.texts if "finished" in text or "has changed" in text]
    again = Notices()
    result = run(spec, registry=registry, observers=[again])
    assert result.finished_at is not None
    assert again.texts == [f"this run was finished at {result.finished_at}; nothing was done"]

    environment = json.loads((spec.run_dir / "environment.json").read_text())
    environment["code"]["mapper transformer"] = "code of another day"
    (spec.run_dir / "environment.json").write_text(json.dumps(environment))
    changed = Notices()
    run(spec, registry=registry, observers=[changed])
    assert "the code of mapper transformer has changed since this run began" in changed.texts[0]
    with pytest.warns(CapfwWarning, match="the code of mapper transformer has changed"):
        Captioner.load(spec.run_dir, device="cpu", registry=registry)


def test_an_epoch_is_logged_once_with_its_loss_when_the_run_is_resumed_after_it(
    tiny: Write, registry: Registry
) -> None:
    class Stop:
        """Stops the run like a power cut, once an epoch is evaluated."""

        @hookimpl
        def epoch_ended(self) -> None:
            raise KeyboardInterrupt

    spec = load_spec(tiny(train={"epochs": 3}), registry=registry)
    with pytest.raises(KeyboardInterrupt):
        run(spec, registry=registry, observers=[Stop()])
    run(spec, registry=registry)
    epochs = {line["epoch"]: line["val_loss"] for line in _log(spec.run_dir, "epoch")}
    assert list(epochs) == [1, 2, 3]
    assert all(isinstance(loss, float) for loss in epochs.values())
    count = len(_log(spec.run_dir, "epoch"))
    run(spec, registry=registry)
    assert len(_log(spec.run_dir, "epoch")) == count


def test_a_finished_run_may_be_given_more_epochs(tiny: Write, registry: Registry) -> None:
    settings = {"schedule": "constant", "best_by": "loss"}
    short = load_spec(tiny(train={"epochs": 1, **settings}), registry=registry)
    run(short, registry=registry)
    longer = run(load_spec(tiny(train={"epochs": 3, **settings}), registry=registry), registry=registry)
    undisturbed = run(
        load_spec(tiny(train={"epochs": 3, **settings}, run_dir="whole/run"), registry=registry), registry=registry
    )
    assert longer.evaluation.scores == undisturbed.evaluation.scores
    step = json.loads((longer.run_dir / "checkpoints/last.json").read_text())["step"]
    one, two = (
        load_file(each.run_dir / f"checkpoints/step-{step}/weights.safetensors") for each in (longer, undisturbed)
    )
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    with pytest.raises(RunError, match="/train/epochs"):
        run(load_spec(tiny(train={"epochs": 2, **settings}), registry=registry), registry=registry)


def test_a_run_begins_with_the_weights_of_another_and_then_needs_it_no_more(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    first = run(load_spec(tiny(train={"epochs": 3}, features={"standardize": True}), registry=registry))
    notices, settings = Notices(), {"from": str(first.run_dir), "epochs": 1, "tune": {"decoder": None}}
    spec = load_spec(tiny(train=settings, features={"standardize": True}, run_dir="second/run"), registry=registry)
    second = run(spec, registry=registry, observers=[notices])
    assert any("starting from encoder, mapper, decoder of" in text for text in notices.texts)
    saved = load_file(next(second.run_dir.glob("checkpoints/step-*/weights.safetensors")))
    assert not [name for name in saved if name.startswith("decoder.")]
    first.run_dir.rename(tmp_path / "gone")
    captioner = Captioner.load(second.run_dir, device="cpu", registry=registry)
    [weights] = (tmp_path / "gone").glob(f"checkpoints/step-{first.evaluation.step}/weights.safetensors")
    before, now = load_file(weights), captioner.model.state_dict()
    assert torch.equal(now["feature_mean"], before["feature_mean"])
    assert all(torch.equal(now[name], value) for name, value in before.items() if name.startswith("decoder."))
    assert not all(torch.equal(now[name], value) for name, value in before.items() if name.startswith("mapper."))
    assert evaluate_run(second.run_dir, registry=registry).scores == second.evaluation.scores


def test_parts_that_differ_begin_anew_and_are_named(tiny: Write, registry: Registry) -> None:
    first = run(load_spec(tiny(train={"epochs": 1}), registry=registry))
    notices = Notices()
    settings = {"from": str(first.run_dir), "epochs": 1}
    spec = load_spec(tiny(train=settings, mapper={"prefix_length": 3}, run_dir="second/run"), registry=registry)
    run(spec, registry=registry, observers=[notices])
    assert any("not copied: the mapper, which differs at /mapper/prefix_length" in text for text in notices.texts)
    other = load_spec(tiny(train=settings, decoder={"width": 32}, run_dir="third/run"), registry=registry)
    with pytest.raises(RunError, match="this run shares no part with"):
        run(other, registry=registry)


def test_a_run_from_another_fits_its_context_to_its_own_images(tiny: Write, registry: Registry) -> None:
    known = registry.with_plugins(Plugin())
    context = {"name": "count"}
    first = run(load_spec(tiny(train={"epochs": 1}, context=context), registry=known), registry=known)
    settings = {"from": str(first.run_dir), "epochs": 1}
    file = tiny(train=settings, data={"num_train": 24}, context=context, run_dir="second/run")
    second = run(load_spec(file, registry=known), registry=known)
    counts = [(each.run_dir / "assets/context/count.txt").read_text() for each in (first, second)]
    assert counts == ["16", "24"]


def test_only_the_parameters_that_are_named_train(tiny: Write, registry: Registry) -> None:
    tune = {"mapper": {"only": ["prefix_queries"], "lr": 0.5}, "decoder": None}
    result = run(load_spec(tiny(train={"epochs": 1, "tune": tune}), registry=registry))
    [weights] = result.run_dir.glob("checkpoints/step-*/weights.safetensors")
    assert [name for name in load_file(weights) if not name.startswith("feature_")] == ["mapper.prefix_queries"]
    wrong = {"mapper": {"only": ["prefix_querys"]}}
    spec = load_spec(tiny(train={"tune": wrong}, run_dir="other/run"), registry=registry)
    with pytest.raises(
        ComponentError, match=r'no parameter begins with "prefix_querys"[\s\S]*prefix_queries'
    ) as caught:
        run(spec, registry=registry)
    assert caught.value.where == "/train/tune/mapper/only"
