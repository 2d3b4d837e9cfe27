"""Reading specs: how each mistake is reported."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from capfw.core.errors import SpecError
from capfw.core.registry import Registry
from capfw.core.spec import load_spec

from .specs import problems, write

Toys = ModuleType


def test_five_mistakes_are_five_problems(toys: Toys, registry: Registry, tmp_path: Path) -> None:
    wrong = toys.spec(
        enconder={},
        data={"name": "folder", "captions": "captions.jsn"},
        mapper={"name": "pooled-mapp"},
        train={"best_by": "length", "epochs": "three", "lr": -1},
    )
    (tmp_path / "captions.json").write_text("{}", encoding="utf-8")

    found = problems(registry, write(tmp_path, wrong))

    assert set(found) == {"/enconder", "/data/captions", "/mapper/name", "/train/epochs", "/train/lr"}
    assert found["/enconder"].message == 'unknown key "enconder".'
    assert 'Did you mean "encoder"?' in found["/enconder"].fix
    assert found["/data/captions"].message == f"there is no file at {tmp_path}/captions.jsn."
    assert 'Did you mean "captions.json"?' in found["/data/captions"].fix
    assert 'Did you mean "pooled-map"?' in found["/mapper/name"].fix
    assert found["/train/epochs"].message == 'must be a whole number, at least 1; got "three".'
    assert found["/train/epochs"].fix == "Passes over the training captions."
    assert found["/train/lr"].message == "must be a number, more than 0; got -1."


# Section and what is written there; where the problem is; words of its message; words of its fix.
MISTAKES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "string-for-number": ({"seed": "42"}, "/seed", 'at least 0; got "42"', "Seeds"),
    "true-for-number": ({"train": {"epochs": True}}, "/train/epochs", "whole number, at least 1; got true", ""),
    "fraction-for-count": ({"train": {"epochs": 1.5}}, "/train/epochs", "got 1.5", ""),
    "not-finite": ({"train": {"lr": float("inf")}}, "/train/lr", "a number, more than 0; got Infinity", ""),
    "null": ({"run_dir": None}, "/run_dir", "a path; got null", "Folder"),
    "choice": (
        {"features": {"dtype": "float61"}},
        "/features/dtype",
        'must be "float16" or "float32"; got "float61"',
        'Did you mean "float16"?',
    ),
    "no-object": ({"train": []}, "/train", "must be an object; got []", ""),
    "bare-name": ({"encoder": "eye"}, "/encoder", '"eye" is not an object', "eye"),
    "no-name": ({"encoder": {}}, "/encoder/name", "required", "eye"),
    "number-for-name": ({"encoder": {"name": 3}}, "/encoder/name", "3 is not a string", "eye"),
    "unknown-option": ({"encoder": {"name": "eye", "wights": "x"}}, "/encoder/wights", "unknown key", '"weights"'),
    "missing-weights": ({"encoder": {"name": "eye", "weights": "./no.pt"}}, "/encoder/weights", "no.pt", "relative to"),
    "missing-folder": ({"data": {"name": "folder", "images": "no"}}, "/data/images", "there is no folder", ""),
    "nested": ({"encoder": {"name": "eye", "model": {"width": 0}}}, "/encoder/model/width", "at least 1; got 0", ""),
    "nested-item": (
        {"encoder": {"name": "eye", "model": {"width": 1, "sizes": [1, "x"]}}},
        "/encoder/model/sizes/1",
        'a number; got "x"',
        "Two sizes.",
    ),
    "no-member-fits": (
        {"encoder": {"name": "eye", "model": 3}},
        "/encoder/model",
        "string, an object or null; got 3",
        "",
    ),
    "slash-in-key": (
        {"encoder": {"name": "eye", "layers": {"a/b~c": {"width": "x"}}}},
        "/encoder/layers/a~1b~0c/width",
        'got "x"',
        "Width of a layer.",
    ),
    "tag-is-no-place": (
        {"encoder": {"name": "eye", "pupil": {"shape": "disc", "radius": 0}}},
        "/encoder/pupil/radius",
        "more than 0; got 0",
        "Radius",
    ),
    "key-named-like-tag": (
        {"encoder": {"name": "eye", "pupil": {"shape": "square", "square": 5}}},
        "/encoder/pupil/side",
        "required",
        "Length of a side",
    ),
    "unknown-tag": (
        {"encoder": {"name": "eye", "pupil": {"shape": "dics"}}},
        "/encoder/pupil/shape",
        '"dics" is not allowed',
        'Did you mean "disc"?',
    ),
    "no-tag": ({"generate": {"max_tokens": 9}}, "/generate/method", "required", "greedy, beam"),
    "other-method": (
        {"generate": {"method": "greedy", "num_beams": 3}},
        "/generate/num_beams",
        "unknown key",
        '"num_beams" goes with "beam": set /generate/method',
    ),
    "too-many-captions": (
        {"generate": {"method": "beam", "num_beams": 2, "num_captions": 3}},
        "/generate/num_captions",
        "2 beams cannot give 3 captions",
        "",
    ),
    "micro-batch": (
        {"train": {"best_by": "length", "batch_size": 8, "micro_batch_size": 9}},
        "/train/micro_batch_size",
        "9 is more than batch_size, 8",
        "",
    ),
    "best-by": ({"train": {"best_by": "lenght"}}, "/train/best_by", 'yields "lenght"', 'Did you mean "length"?'),
    "best-by-default": ({"train": {}}, "/train/best_by", '"CIDEr", which is the default', "length"),
    "no-metrics": ({"metrics": []}, "/metrics", "at least 1 long; got []", ""),
    "metrics-object": ({"metrics": {"name": "length"}}, "/metrics", "must be a list", ""),
    "metric-twice": ({"metrics": [{"name": "length"}, {"name": "length"}]}, "/metrics/1", "listed twice", ""),
    "metrics-of-one-score": (
        {"metrics": [{"name": "length"}, {"name": "length", "unit": "characters"}]},
        "/metrics/1",
        '"length" yields length, but so does "length" before it',
        "--output",
    ),
    "metric-item": (
        {"metrics": [{"name": "length"}, {"name": "length", "unit": "bits"}]},
        "/metrics/1/unit",
        'must be "words" or "characters"; got "bits"',
        "",
    ),
    "format": ({"capfw": 2}, "/capfw", "must be 1; got 2", ""),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_is_told_with_place_and_remedy(case: str, toys: Toys, registry: Registry, tmp_path: Path) -> None:
    changes, place, message, fix = MISTAKES[case]
    if "train" in changes and case not in ("no-object", "best-by", "best-by-default"):
        changes = {"train": {"best_by": "length", **changes["train"]}}

    found = problems(registry, toys.spec(**changes), base_dir=tmp_path)

    assert set(found) == {place}
    assert message in found[place].message
    assert fix in found[place].fix
    assert "Input should" not in found[place].message


def test_required_sections_are_named(toys: Toys, registry: Registry) -> None:
    found = problems(registry, {"capfw": 1})

    assert set(found) == {"/data", "/encoder", "/mapper", "/decoder", "/metrics", "/run_dir"}


def test_mapper_that_cannot_read_the_features_is_refused(toys: Toys, registry: Registry) -> None:
    found = problems(registry, toys.spec(encoder={"name": "eye", "features": "tokens"}))

    assert set(found) == {"/mapper"}
    assert found["/mapper"].message == (
        '"pooled-map" needs one pooled embedding per image, but encoder "eye" emits patch tokens (B, N, D).'
    )
    assert found["/mapper"].fix == 'Set /encoder/features to "pooled", or use mapper "any-map".'
    fitting = toys.spec(encoder={"name": "eye", "features": "tokens"}, mapper={"name": "any-map"})
    assert load_spec(fitting, registry=registry).mapper.name == "any-map"


def test_checks_between_sections_do_not_wait_for_other_problems(toys: Toys, registry: Registry) -> None:
    wrong = toys.spec(
        seed=-1, encoder={"name": "eye", "features": "tokens"}, train={"best_by": "fame"}, generate={"method": "x"}
    )

    assert set(problems(registry, wrong)) == {"/seed", "/mapper", "/train/best_by", "/generate/method"}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('{"capfw": 1,\n "seed": }', "", "line 2, column 10"),
        ("[1]", "", "a spec is a JSON object"),
        ('{"capfw": 1, "train": {"lr": 1, "a/b": {}, "lr": 2}}', "/train/lr", "twice"),
        ('{"capfw": 1, "metrics": [{"name": "a", "name": "b"}]}', "/metrics/0/name", "twice"),
    ],
)
def test_malformed_json_is_told(text: str, place: str, message: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, text), registry=registry)

    assert caught.value.source == str(tmp_path / "spec.json")
    assert any(p.pointer == place and message in p.message for p in caught.value.problems)


def test_unreadable_files_are_told(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('{"description": "é"}'.encode("latin-1"))

    for name, message in (("nope.json", "No such file"), (".", "Is a directory"), ("latin.json", "not UTF-8")):
        assert message in problems(registry, tmp_path / name)[""].message


def test_wrong_objective_and_context_are_told_at_their_place(toys: Toys, registry: Registry) -> None:
    train = {"best_by": "length", "objective": {"name": "crossentropy"}}
    found = problems(registry, toys.spec(train=train, context={"name": "table", "tabel": 1}))

    assert found.keys() == {"/train/objective/name", "/context/tabel"}
    assert 'Did you mean "cross-entropy"?' in found["/train/objective/name"].fix
    assert problems(registry, toys.spec(train={"best_by": "length", "objective": None})).keys() == {"/train/objective"}


def test_tuned_encoder_refuses_what_needs_fixed_features(toys: Toys, registry: Registry) -> None:
    train = {"best_by": "length", "tune": {"encoder": {}}}
    context = {"name": "table", "is_nearest": True}
    found = problems(registry, toys.spec(train=train, features={"standardize": True}, context=context))

    assert found.keys() == {"/features/standardize", "/context"}
    assert load_spec(toys.spec(train=train, context={"name": "table"}), registry=registry)
    assert load_spec(toys.spec(features={"standardize": True}, context=context), registry=registry)


def test_tuning_nothing_is_refused(toys: Toys, registry: Registry) -> None:
    found = problems(registry, toys.spec(train={"best_by": "length", "tune": {"mapper": None, "decoder": None}}))

    assert found["/train/tune"].message == "no part is tuned."
