"""`--set`: which place of a spec an override reaches, and what is answered to one that reaches none."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from capfw.core.errors import Problem, SpecError
from capfw.core.protocols import BeamOptions, GreedyOptions, NucleusOptions
from capfw.core.registry import Registry
from capfw.core.spec import load_spec, parse_override
from capfw.core.spec.document import override

Toys = ModuleType


def problem_of(registry: Registry, source: dict[str, object], place: str, value: object) -> Problem:
    """The first problem of a spec with this override."""
    with pytest.raises(SpecError) as caught:
        load_spec(source, registry=registry, overrides={place: value})
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("/train/epochs=1", "/train/epochs", 1),
        ("/encoder/weights=ViT-B=32", "/encoder/weights", "ViT-B=32"),
        ('/encoder/weights="1"', "/encoder/weights", "1"),
        ('/generate={"method": "beam"}', "/generate", {"method": "beam"}),
        ("/train/clip_norm=null", "/train/clip_norm", None),
    ],
)
def test_override_is_json_or_else_a_string(text: str, place: str, value: object) -> None:
    assert parse_override(text) == (place, value)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("train.epochs=3", "Write --set /train/epochs=3."),
        ("train/epochs=3", "Write --set /train/epochs=3."),
        ("#/train/epochs=3", "Write --set /train/epochs=3."),
        ("metrics[0].name=bleu-4", "Write --set /metrics/0/name=bleu-4."),
        ("train.lr=0.001", "Write --set /train/lr=0.001."),
        ("epochs=3", "Write --set /epochs=3, or put its section before it, as in --set /train/epochs=1."),
        ("/train/epochs", "Write --set /train/epochs=VALUE: an equals sign, and no space beside it."),
        ("train.epochs", "Write --set /train/epochs=VALUE: an equals sign, and no space beside it."),
        ("", "Write --set /json/pointer=value, as in --set /train/epochs=1."),
    ],
)
def test_what_is_no_override_is_refused_with_the_one_that_was_meant(text: str, fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_override(text)
    [problem] = caught.value.problems
    assert (problem.message, problem.fix) == (f'"{text}" is not an override.', fix)


def test_override_appends_to_a_list(toys: Toys, registry: Registry) -> None:
    """RFC 6902: the place "-", or the next index."""
    source = toys.spec(metrics=[{"name": "length", "unit": "words"}])
    more = [
        ("/metrics/-", {"name": "length", "unit": "characters"}),
        ("/metrics/2", {"name": "length", "unit": "words"}),
        ("/metrics/-/name", "length"),
    ]
    raw = json.loads(json.dumps(source))
    assert [problem for place, value in more for problem in override(raw, place, value)] == []
    assert raw["metrics"] == [*source["metrics"], more[0][1], more[1][1], {"name": "length"}]
    twice = [("/metrics/-", {"name": "length", "most": 5}), ("/metrics/-", {"name": "length", "most": 6})]
    assert len(load_spec(source, registry=registry, overrides=twice).metrics) == 3
    del source["metrics"]
    assert len(load_spec(source, registry=registry, overrides={"/metrics/-": {"name": "length"}}).metrics) == 1


def test_later_overrides_leave_the_given_values_as_they_are() -> None:
    emptied: list[object] = []
    for _ in range(2):  # `capfw init` drafts again after an answer
        raw: dict[str, object] = {"metrics": [{"name": "bleu"}]}
        for place, value in [("/metrics", emptied), ("/metrics/-", {"name": "length"})]:
            assert override(raw, place, value) == []
        assert raw == {"metrics": [{"name": "length"}]}
    assert emptied == []


def test_override_beyond_the_next_place_of_a_list_names_its_length(toys: Toys, registry: Registry) -> None:
    source = toys.spec(metrics=[{"name": "length"}])
    for key in ("2", "9", "-1", "first"):
        problem = problem_of(registry, source, f"/metrics/{key}", {"name": "length"})
        assert problem.message == "--set: the list has 1 item, counted from 0."
        assert problem.fix == "Write /metrics/1 or /metrics/- to append."


def test_overrides_reach_every_place(toys: Toys, registry: Registry, tmp_path: Path) -> None:
    source = toys.spec(encoder={"name": "eye", "layers": {"a/b": {"width": 1}}})
    overrides = {
        "/train/epochs": 7,
        "/features/batch_size": 5,
        "/metrics/0/unit": "characters",
        "/encoder/layers/a~1b/width": 9,
        "/run_dir": "elsewhere",
    }

    spec = load_spec(source, registry=registry, overrides=overrides, base_dir=tmp_path).to_json()

    assert spec["train"]["epochs"] == 7
    assert spec["features"]["batch_size"] == 5
    assert spec["metrics"][0]["unit"] == "characters"
    assert spec["encoder"]["layers"]["a/b"]["width"] == 9
    assert spec["run_dir"] == str(tmp_path / "elsewhere")
    assert source["run_dir"] == "runs/toy", "the values handed in stay as they are"


@pytest.mark.parametrize(
    ("override", "place"), [("/metrics/3/unit", "/metrics/3"), ("/seed/x", "/seed"), ("train", "train")]
)
def test_override_of_no_place_is_a_problem(override: str, place: str, toys: Toys, registry: Registry) -> None:
    problem = problem_of(registry, toys.spec(seed=3), override, 1)
    assert problem.pointer == place
    assert problem.message.startswith("--set: ")


def test_another_method_of_generation_keeps_only_what_every_method_has(registry: Registry, toys: Toys) -> None:
    nucleus = toys.spec(generate={"method": "nucleus", "top_p": 0.5, "max_tokens": 9})
    for changes in (
        [("/generate/num_beams", 4), ("/generate/method", "beam")],
        [("/generate/method", "beam"), ("/generate/num_beams", 4)],
    ):
        changed = load_spec(nucleus, registry=registry, overrides=changes).generate
        assert changed == BeamOptions(num_beams=4, max_tokens=9)
    same = load_spec(nucleus, registry=registry, overrides={"/generate/method": "nucleus"}).generate
    assert same == NucleusOptions(top_p=0.5, max_tokens=9)


def test_options_of_generation_without_a_method_are_of_greedy_search(registry: Registry, toys: Toys) -> None:
    without = {name: value for name, value in toys.spec().items() if name != "generate"}
    changed = load_spec(without, registry=registry, overrides={"/generate/max_tokens": 12}).generate
    assert changed == GreedyOptions(max_tokens=12)
