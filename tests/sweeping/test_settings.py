"""The trials of a sweep file: which settings it has, their names, and every mistake at its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from capfw import load_spec
from capfw.core.errors import Problem, SpecError
from capfw.core.registry import Registry
from capfw.core.sweeping import load_sweep, plan_sweep
from capfw.core.sweeping.naming import distinct, trial_name
from capfw.core.sweeping.schema import sweep_schema
from capfw.core.sweeping.sources import AllTrials, source_of

from .conftest import BASE

Write = Callable[..., Path]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sweeps" / "quickstart.json"
LINEAR, MLP = {"name": "linear"}, {"name": "mlp"}
NINE_EPOCHS = BASE | {"train": {**BASE["train"], "epochs": 9}}
POOLED = BASE | {"encoder": {**BASE["encoder"], "features": "pooled"}, "mapper": MLP}


def names(file: Path) -> list[str]:
    return [trial.name for trial, _ in plan_sweep(load_sweep(file))]


def problems(file: Path) -> dict[str, Problem]:
    with pytest.raises(SpecError) as caught:
        plan_sweep(load_sweep(file))
    assert caught.value.source == str(file)
    return {problem.pointer: problem for problem in caught.value.problems}


def test_a_grid_has_every_combination_with_every_seed(write: Write) -> None:
    file = write(base=POOLED, grid={"/mapper": [LINEAR, MLP], "/train/lr": [0.01, 1e-5]}, seeds=[0, 1])
    assert names(file) == [
        f"mapper-{mapper}__lr-{lr}__seed-{seed}"
        for mapper in ("linear", "mlp")
        for lr in ("0.01", "1e-05")
        for seed in (0, 1)
    ]


def test_a_list_has_values_that_change_together_and_is_combined_with_a_grid(write: Write) -> None:
    together = [{}, {"/encoder/features": "pooled", "/mapper": MLP}]
    assert names(write(list=together)) == ["base", "features-pooled__mapper-mlp"]
    file = write(list=together, grid={"/train/epochs": [1, 2]}, seeds=[5])
    assert names(file) == [
        "epochs-1__seed-5",
        "epochs-2__seed-5",
        "features-pooled__mapper-mlp__epochs-1__seed-5",
        "features-pooled__mapper-mlp__epochs-2__seed-5",
    ]


def test_a_name_stays_when_the_sweep_grows(write: Write) -> None:
    mappers = [MLP, {"name": "mlp", "prefix_length": 3}, {"name": "mlp", "prefix_length": 4}]
    few, many = (names(write(base=POOLED, grid={"/mapper": mappers[:count]})) for count in (2, 3))
    assert few == many[:2] == ["mapper-mlp", "mapper-mlp-prefix_length-3"]


def test_a_name_is_a_short_file_name_and_no_two_are_one(write: Write) -> None:
    odd = ["a/b: ", "a b", "a_b", "A_B", "x" * 300, "é", "../..", "<b>", ""]
    named = names(write(list=[{"/mapper": {**BASE["mapper"], "dropout": 0.1, "position_embeddings": True}}]))
    assert re.fullmatch(r"mapper-transformer-[0-9a-f]{6}", named[0])
    labels = [trial_name({"/x": value}, 0, {"/x": "x"}) for value in odd]
    assert len({label.casefold() for label in distinct(labels, odd)}) == len(odd)
    assert all(re.fullmatch(r"x-[\w.+-]{1,40}__seed-0", label) for label in labels), labels


def test_places_of_one_name_are_told_apart(write: Write) -> None:
    file = write(grid={"/mapper/num_layers": [1, 2], "/decoder/num_layers": [1]})
    assert names(file) == ["mapper.num_layers-1__decoder.num_layers-1", "mapper.num_layers-2__decoder.num_layers-1"]


def test_a_random_sample_is_within_its_space_and_begins_like_a_smaller_one(write: Write) -> None:
    space = {
        "/train/lr": {"low": 1e-5, "high": 1e-1, "log": True},
        "/mapper/num_layers": {"low": 1, "high": 3, "integer": True},
        "/train/batch_size": [8, 16],
    }
    few, many = ([trial.setting for trial, _ in plan_sweep(load_sweep(write(space=space, num=num)))] for num in (5, 40))
    assert many[:5] == few
    assert len({json.dumps(setting) for setting in many}) == 40
    assert {setting["/mapper/num_layers"] for setting in many} == {1, 2, 3}
    assert {setting["/train/batch_size"] for setting in many} == {8, 16}
    rates = [setting["/train/lr"] for setting in many]
    assert all(1e-5 <= rate <= 1e-1 for rate in rates)
    assert 8 <= sum(rate < 1e-3 for rate in rates) <= 32  # half of them on a logarithmic scale, 1 % on a linear one
    other = plan_sweep(load_sweep(write(space=space, num=5, search_seed=1)))
    assert [trial.setting for trial, _ in other] != few


def test_a_space_with_fewer_settings_than_asked_for_is_an_error(write: Write) -> None:
    found = problems(write(space={"/train/batch_size": [8, 16]}, num=3))
    assert found["/num"].message == "/space has only 2 different settings, fewer than 3."
    assert "grid" in found["/num"].fix


def test_every_mistake_of_every_trial_is_reported_at_its_place_before_a_run(write: Write, tmp_path: Path) -> None:
    base = BASE | {"train": {**BASE["train"], "epochs": 0}}
    file = write(
        base=base,
        grid={
            "/mapper": [{"name": "transformerr"}, BASE["mapper"], {"name": "mlp"}],
            "/train/lr": [0.1, -1],
            "/metrics/7": [{"name": "bleu"}],
        },
    )
    found = problems(file)
    assert set(found) == {
        "/grid/~1mapper/0/name",
        "/grid/~1mapper/2",
        "/grid/~1train~1lr/1",
        "/grid/~1metrics~17/0",
        "/base",
    }
    assert 'Did you mean "transformer"?' in found["/grid/~1mapper/0/name"].fix
    assert "needs one pooled embedding" in found["/grid/~1mapper/2"].message
    assert found["/grid/~1train~1lr/1"].message == "must be a number, more than 0; got -1."
    assert found["/grid/~1metrics~17/0"].message == "the list has 2 items, counted from 0."
    assert found["/base"].message == "base.json, /train/epochs: must be a whole number, at least 1; got 0."
    assert not (tmp_path / "out").exists()


def test_a_problem_of_some_trials_in_the_base_spec_names_them(write: Write) -> None:
    found = problems(write(base=POOLED, grid={"/encoder/features": ["pooled", "tokens"]}))
    assert found["/base"].message.startswith('base.json, /mapper: "mlp" needs one pooled embedding')
    assert found["/base"].message.endswith("Trials: features-tokens.")


KEYS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "nothing": ({}, "", "there is nothing to try", 'Add "grid"'),
    "unknown": ({"gird": {}}, "/gird", 'unknown key "gird"', 'Did you mean "grid"?'),
    "no-pointer": ({"grid": {"train.lr": [1]}}, "/grid/train.lr", 'write "/train/lr"', ""),
    "own-place": ({"grid": {"/seed": [1]}}, "/grid/~1seed", "a sweep cannot change /seed", ""),
    "no-values": ({"grid": {"/train/lr": []}}, "/grid/~1train~1lr", "must be a list, at least 1 long", ""),
    "two-ways": ({"grid": {"/train/lr": [1]}, "space": {"/seed": [1]}, "num": 2}, "/space/~1seed", "cannot change", ""),
    "both": (
        {"grid": {"/train/lr": [1]}, "space": {"/train/epochs": [1]}, "num": 1},
        "/grid",
        '"grid" and "space" exclude each other',
        "Keep one",
    ),
    "no-num": ({"space": {"/train/lr": [1]}}, "/num", "required beside /space", '"num": 20'),
    "num-alone": ({"grid": {"/train/lr": [1]}, "num": 2}, "/num", 'no effect without "space"', "Remove it"),
    "tpe-alone": ({"grid": {"/train/lr": [1]}, "search": "tpe"}, "/search", 'no effect without "space"', "Remove it"),
    "range": ({"space": {"/train/lr": {"low": 2, "high": 1}}, "num": 2}, "/space/~1train~1lr", "less than high", ""),
    "log": (
        {"space": {"/train/lr": {"low": 0, "high": 1, "log": True}}, "num": 2},
        "/space/~1train~1lr",
        "low must be more than 0",
        "",
    ),
    "seeds": ({"grid": {"/train/lr": [1]}, "seeds": [1, 1]}, "/seeds", "seed 1 occurs twice", "Keep one"),
    "negative-seed": ({"grid": {"/train/lr": [1]}, "seeds": [-1]}, "/seeds/0", "at least 0; got -1", ""),
    "list-and-grid": (
        {"grid": {"/train/lr": [1]}, "list": [{"/train/lr": 2}]},
        "/list/0/~1train~1lr",
        "/train/lr is in /grid too",
        "Keep it in one",
    ),
    "repeated": (
        {"list": [{"/train/lr": 1}, {"/train/lr": 1.0}]},
        "/list/1/~1train~1lr",
        "the same run as",
        "Remove one",
    ),
    "best-by": (
        {"grid": {"/train/best_by": ["CIDEr", "ROUGE-L"]}},
        "/grid/~1train~1best_by/1",
        "the trials differ in /train/best_by, so their scores cannot be ranked",
        "base spec",
    ),
    "metrics": (
        {"grid": {"/metrics/1/document_frequencies": [None], "/metrics/0": [{"name": "rouge-l"}, {"name": "bleu"}]}},
        "/grid/~1metrics~10/1",
        "the trials differ in /metrics",
        "base spec",
    ),
    "no-data": ({"grid": {"/data": [None]}}, "/base", "a trial has no data set", "Name a data set"),
    "no-base": (
        {"inline": "bse.json", "grid": {"/train/lr": [1]}},
        "/base",
        "the base spec cannot be read",
        "Check the path",
    ),
}


@pytest.mark.parametrize(("keys", "place", "message", "fix"), KEYS.values(), ids=KEYS)
def test_mistake_in_a_sweep_file(write: Write, keys: dict[str, Any], place: str, message: str, fix: str) -> None:
    found = problems(write(**keys))
    assert place in found, found
    assert message in found[place].message
    assert fix in found[place].fix


def test_a_base_spec_may_be_inline_and_lack_what_the_settings_supply(write: Write) -> None:
    base = {key: value for key, value in BASE.items() if key != "mapper"}
    assert names(write(inline=base, grid={"/mapper": [{"name": "transformer"}]})) == ["mapper-transformer"]
    assert "required" in problems(write(inline=base, list=[{}]))["/base/mapper"].message


def test_dry_run_prints_the_trials_and_starts_none(write: Write, capfw: Callable[..., Result], tmp_path: Path) -> None:
    file = write(grid={"/train/lr": [0.1, 0.2]}, seeds=[3])
    plain, as_json = capfw("sweep", file, "--dry-run"), capfw("sweep", file, "--dry-run", "--json")
    assert plain.exit_code == 0
    assert plain.stdout.splitlines()[:2] == ["lr-0.1__seed-3", "lr-0.2__seed-3"]
    assert "2 trials: 2 settings of 1 each" in plain.stdout
    assert json.loads(as_json.stdout)[1] == {
        "name": "lr-0.2__seed-3",
        "setting": {"/train/lr": 0.2},
        "seed": 3,
        "state": "unfinished",
    }
    assert not (tmp_path / "out").exists()


def test_runs_of_other_specs_in_the_folder_are_an_error_before_a_run(write: Write, tmp_path: Path) -> None:
    file = write(base=NINE_EPOCHS, grid={"/train/lr": [0.1, 0.2]})
    run_dir = tmp_path / "out/runs/lr-0.2"
    overrides = {"/train/lr": 0.2, "/run_dir": str(run_dir)}
    run_dir.mkdir(parents=True)
    (run_dir / "environment.json").write_text('{"format": 2, "features": {}}')

    def begun_with(**more: object) -> None:
        spec = load_spec(tmp_path / "base.json", overrides={**overrides, **more})
        (run_dir / "spec.json").write_text(json.dumps(spec.to_json()))

    begun_with(**{"/train/batch_size": 4, "/decoder/width": 32})
    found = problems(file)["/folder"]
    assert found.message.endswith("with other specs: lr-0.2 (/decoder/width, /train/batch_size).")
    assert found.fix == "Choose another folder, or delete these runs."
    for same in ({}, {"/features/num_workers": 1}, {"/train/epochs": 8}):  # the last one: the run gets more epochs
        begun_with(**same)
        assert names(file) == ["lr-0.1", "lr-0.2"]
    begun_with(**{"/train/epochs": 10})
    assert problems(file)["/folder"].message.endswith("with other specs: lr-0.2 (/train/epochs).")


def test_a_finished_trial_that_gets_more_epochs_is_unfinished_again(write: Write, tmp_path: Path) -> None:
    file = write(base=NINE_EPOCHS, grid={"/train/lr": [0.2]})
    run_dir = tmp_path / "out/runs/lr-0.2"
    run_dir.mkdir(parents=True)
    facts = {"format": 2, "features": {}, "is_trained": True, "finished_at": "today", "data": {"val": {}}}
    (run_dir / "environment.json").write_text(json.dumps(facts))
    for epochs, expected in ((8, "unfinished"), (9, "finished")):
        overrides = {"/train/lr": 0.2, "/run_dir": str(run_dir), "/train/epochs": epochs}
        spec = load_spec(tmp_path / "base.json", overrides=overrides)
        (run_dir / "spec.json").write_text(json.dumps(spec.to_json()))
        assert [state for _, state in plan_sweep(load_sweep(file))] == [expected]


def test_a_value_inside_a_part_stays_when_the_part_comes_later(write: Write) -> None:
    file = write(base=POOLED, grid={"/mapper/prefix_length": [7], "/mapper": [LINEAR, MLP]})
    planned = source_of(load_sweep(file), Registry.discover())
    assert isinstance(planned, AllTrials)
    assert [each.spec.mapper.to_json()["prefix_length"] for each in planned.planned] == [7, 7]


def test_the_json_schema_agrees_with_the_example_and_finds_mistakes() -> None:
    jsonschema: Any = pytest.importorskip(
        "jsonschema", reason="the JSON Schema is checked with jsonschema: not installed"
    )
    schema = sweep_schema(Registry.discover())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    sweep = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    inline = {"encoder": BASE["encoder"], "train": {"lr": 1e-3}}
    assert validator.is_valid(sweep)
    assert validator.is_valid(sweep | {"base": inline, "$schema": "./sweep.schema.json"})
    for wrong in (
        {"gird": {}},
        {"seeds": [-1]},
        {"search": "best"},
        {"base": {"encoder": {"name": "clipp"}}},
        {"num": 0},
    ):
        assert not validator.is_valid(sweep | wrong), wrong


def test_the_example_has_eight_trials() -> None:
    assert len(names(EXAMPLE)) == 8
