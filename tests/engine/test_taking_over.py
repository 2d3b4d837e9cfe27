"""`/train/from`: a run begins with another's weights, and then needs it no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from capfw import Captioner, load_spec, run
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import RunError, SpecError
from capfw.core.registry import Registry

Write = Callable[..., Path]


def _first(tiny: Write, registry: Registry, **sections: object) -> Path:
    return run(load_spec(tiny("first.json", run_dir="first", **sections), registry=registry), registry=registry).run_dir


def test_a_run_goes_on_when_the_run_that_it_began_with_is_gone(tiny: Write, registry: Registry) -> None:
    first = _first(tiny, registry)
    file = tiny(train={"from": str(first)})
    run_dir = run(load_spec(file, registry=registry), registry=registry, until="extract").run_dir
    shutil.rmtree(first)
    run(load_spec(file, registry=registry), registry=registry)
    again = run(load_spec(run_dir / "spec.json", registry=registry), registry=registry)
    assert again.finished_at is not None
    evaluate_run(run_dir, registry=registry)
    Captioner.load(run_dir, registry=registry, device="cpu")


def test_a_run_that_has_not_begun_needs_the_run_it_names(tiny: Write, registry: Registry) -> None:
    with pytest.raises(SpecError, match="/train/from: there is no folder"):
        load_spec(tiny(train={"from": "nowhere"}), registry=registry)


def test_the_context_is_fitted_to_the_training_images_of_the_new_run(tiny: Write, odd_parts: Registry) -> None:
    first = _first(tiny, odd_parts, context={"name": "count"})
    file = tiny(context={"name": "count"}, data={"num_train": 24}, train={"from": str(first)})
    run_dir = run(load_spec(file, registry=odd_parts), registry=odd_parts).run_dir
    assert (run_dir / "assets/context/count.txt").read_text() == "24"


def test_a_frozen_encoder_keeps_the_weights_that_an_earlier_run_tuned(tiny: Write, registry: Registry) -> None:
    first = _first(tiny, registry, train={"tune": {"encoder": {"lr": 0.05}}})
    second = run(load_spec(tiny("b.json", run_dir="second", train={"from": str(first)}), registry=registry)).run_dir
    third = run(load_spec(tiny("c.json", run_dir="third", train={"from": str(second)}), registry=registry)).run_dir
    shutil.rmtree(first)
    shutil.rmtree(second)
    written = [each["caption"] for each in json.loads((third / "candidates/test.json").read_text())]
    assert [each[0].text for each in evaluate_run(third, registry=registry).captions.values()] == written
    captioner = Captioner.load(third, registry=registry, device="cpu")
    sources = [sample.source for sample in captioner.spec.data.build().samples("test")]
    assert [each[0].text for each in captioner.caption(sources)] == written


def test_a_new_mapper_reads_features_that_are_standardised_only_where_the_spec_asks(
    tiny: Write, registry: Registry
) -> None:
    first = _first(tiny, registry, features={"standardize": True})
    mapper = {"name": "transformer", "prefix_length": 3, "num_layers": 1, "num_heads": 2}
    for name, is_asked in {"plain": False, "standard": True}.items():
        file = tiny(
            f"{name}.json",
            run_dir=name,
            mapper=mapper,
            features={"standardize": is_asked},
            train={"from": str(first)},
        )
        run_dir = run(load_spec(file, registry=registry), registry=registry).run_dir
        [weights, *_] = sorted(run_dir.glob("checkpoints/step-*/weights.safetensors"))
        assert bool(load_file(weights)["feature_mean"].any()) is is_asked


def test_a_part_whose_old_spec_had_an_option_more_is_named_with_it(tiny: Write, registry: Registry) -> None:
    first = _first(tiny, registry)
    old = json.loads((first / "spec.json").read_text())
    old["decoder"]["tuning"] = "full"
    (first / "spec.json").write_text(json.dumps(old))
    with pytest.raises(RunError, match="the decoder, which differs at /decoder/tuning"):
        run(load_spec(tiny(train={"from": str(first)}), registry=registry), registry=registry)


def test_an_encoder_with_other_random_weights_is_not_the_same_encoder(tiny: Write, registry: Registry) -> None:
    first = run(load_spec(tiny(train={"epochs": 1}), registry=registry), registry=registry)
    settings = {"from": str(first.run_dir), "epochs": 1}
    spec = load_spec(tiny(train=settings, seed=7, run_dir="second/run"), registry=registry)
    run(spec, registry=registry)
    log = (spec.run_dir / "log.jsonl").read_text()
    assert "not copied: the encoder, whose weights differ" in log
    assert "not copied: the mapper, because the encoder or decoder beside it differs" in log


@pytest.mark.parametrize("lora", [None, {"rank": 2}], ids=["whole", "lora"])
def test_the_second_run_begins_where_the_first_ended(tiny: Write, registry: Registry, lora: object) -> None:
    if lora:
        pytest.importorskip("peft", reason="needs the extra capfw[lora]")
    decoder = {**json.loads(tiny().read_text())["decoder"], "lora": lora}
    first = _first(tiny, registry, decoder=decoder, train={"epochs": 6, "lr": 0.03})
    written = json.loads((first / "candidates/test.json").read_text())
    file = tiny(decoder=decoder, train={"from": str(first), "epochs": 1, "lr": 1e-12})
    second = run(load_spec(file, registry=registry), registry=registry).run_dir
    shutil.rmtree(first)
    assert "starting from encoder, mapper, decoder of" in (second / "log.jsonl").read_text()
    assert json.loads((second / "candidates/test.json").read_text()) == written
    begun, ended = load_file(second / "assets/start.safetensors"), load_file(*second.glob("checkpoints/*/weights.*"))
    trained = {name for name in ended if name.startswith("decoder.")}
    assert trained
    assert all(("lora_" in name) is bool(lora) for name in trained)
    assert all(ended[name].allclose(begun[name], atol=1e-6) for name in trained)
