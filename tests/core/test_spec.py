"""Reading specs: what is accepted, and how each mistake is told."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from capfw.core.protocols import BeamOptions
from capfw.core.registry import Registry
from capfw.core.spec import load_spec
from capfw.core.spec.schema import json_schema
from capfw.core.spec.settings import PartTuning

from .specs import problems, write

Toys = ModuleType


def test_defaults_are_written_in(toys: Toys, registry: Registry, tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, toys.spec()), registry=registry)

    assert (spec.seed, spec.train.epochs, spec.train.batch_size, spec.train.lr) == (42, 3, 128, 1e-4)
    assert (spec.generate.method, spec.features.dtype, spec.features.on_bad_image) == ("greedy", "float16", "skip")
    assert spec.run_dir == tmp_path / "runs/toy"
    assert spec.features.store == tmp_path / "runs/features"
    assert spec.encoder.to_json() == {
        "name": "eye",
        "weights": "random",
        "features": "pooled",
        "model": None,
        "pupil": None,
        "layers": {},
    }


def test_resolved_spec_reads_back_unchanged(toys: Toys, registry: Registry, tmp_path: Path) -> None:
    encoder = {"name": "eye", "model": {"width": 8, "sizes": [1, 2]}, "pupil": {"shape": "square", "side": 4}}
    changes = {"description": "A toy.", "generate": {"method": "beam", "num_beams": 4}, "encoder": encoder}
    spec = load_spec(write(tmp_path, toys.spec(**changes)), registry=registry)

    resolved = json.loads(json.dumps(spec.to_json()))
    again = load_spec(resolved, registry=registry, base_dir=Path("/nowhere"))

    assert again == spec
    assert again.to_json() == resolved
    assert spec.generate == BeamOptions(num_beams=4)


def test_one_metric_twice_with_scores_of_their_own_is_two_metrics(toys: Toys, registry: Registry) -> None:
    spec = load_spec(toys.spec(metrics=[{"name": "length"}, {"name": "length", "most": 9}]), registry=registry)

    assert [metric.to_json()["most"] for metric in spec.metrics] == [100, 9]


def test_old_run_is_read_although_its_files_are_gone(toys: Toys, registry: Registry) -> None:
    gone = toys.spec(data={"name": "folder", "captions": "/gone/captions.json"})

    assert set(problems(registry, gone)) == {"/data/captions"}
    spec = load_spec(gone, registry=registry, check_files=False)
    assert spec.data.to_json()["captions"] == "/gone/captions.json"


def test_objective_is_cross_entropy_and_context_none_unless_the_spec_names_others(
    toys: Toys, registry: Registry, tmp_path: Path
) -> None:
    spec = load_spec(toys.spec(context=None), registry=registry)

    assert (spec.train.objective.kind, spec.train.objective.name, spec.context) == ("objective", "cross-entropy", None)
    assert spec.to_json()["train"]["objective"] == {"name": "cross-entropy"}
    (tmp_path / "texts.csv").touch()
    named = toys.spec(context={"name": "table", "table": "texts.csv"})
    context = load_spec(write(tmp_path, named), registry=registry).context
    assert context is not None
    assert context.config.table == tmp_path / "texts.csv"


def test_spec_without_a_train_section_has_an_objective_too(toys: Toys, registry: Registry) -> None:
    spec = toys.spec()
    del spec["train"]

    assert problems(registry, spec).keys() == {"/train/best_by"}  # CIDEr, the default, is no score of the toys


def test_metrics_of_an_objective_are_parts_with_their_defaults_and_places(
    toys: Toys, registry: Registry, tmp_path: Path
) -> None:
    def train(**reward: object) -> dict[str, object]:
        return {"best_by": "length", "objective": {"name": "reward", "reward": {"name": "length", **reward}}}

    spec = load_spec(write(tmp_path, toys.spec(train=train(unit="characters"))), registry=registry)

    [reward] = spec.train.objective.metrics
    assert (reward.kind, reward.name, reward.config.unit) == ("metric", "length", "characters")
    resolved = spec.to_json()
    assert resolved["train"]["objective"]["reward"] == {"name": "length", "unit": "characters", "most": 100}
    assert load_spec(resolved, registry=registry) == spec
    assert problems(registry, toys.spec(train=train(unit="lines"))).keys() == {"/train/objective/reward/unit"}
    unknown = {"best_by": "length", "objective": {"name": "reward", "reward": {"name": "lenght"}}}
    assert 'Did you mean "length"?' in problems(registry, toys.spec(train=unknown))["/train/objective/reward/name"].fix


def test_parts_are_tuned_each_with_its_own_learning_rate(toys: Toys, registry: Registry, tmp_path: Path) -> None:
    tune = {"encoder": {"lr": 1e-5, "only": ["blocks.11.", "norm."]}, "decoder": None}
    (tmp_path / "old").mkdir()
    train = {"best_by": "length", "tune": tune, "from": "old"}
    spec = load_spec(write(tmp_path, toys.spec(train=train)), registry=registry)

    assert spec.train.tune.encoder.lr == 1e-5
    assert spec.train.tune.encoder.only == ("blocks.11.", "norm.")
    assert spec.train.tune.mapper == PartTuning()
    assert spec.train.tune.decoder is None
    assert spec.train.from_ == tmp_path / "old"
    resolved = spec.to_json()
    assert resolved["train"]["from"] == str(tmp_path / "old")
    assert load_spec(json.loads(json.dumps(resolved)), registry=registry) == spec
    train["from"] = "odl"
    assert 'Did you mean "old"?' in problems(registry, write(tmp_path, toys.spec(train=train)))["/train/from"].fix


def _nodes(schema: Any) -> Any:
    yield schema
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _nodes(value)


def test_schema_describes_every_component_and_field(registry: Registry) -> None:
    schema = json_schema(registry)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    mappers = [schema["$defs"][ref["$ref"].removeprefix("#/$defs/")] for ref in schema["properties"]["mapper"]["oneOf"]]
    assert [mapper["properties"]["name"]["const"] for mapper in mappers] == ["any-map", "pooled-map"]
    assert all("name" in mapper["required"] and mapper["additionalProperties"] is False for mapper in mappers)
    assert mappers[1]["properties"]["prefix_length"]["maximum"] == 100
    train = schema["$defs"]["TrainSettings"]["properties"]
    assert [ref["$ref"] for ref in train["objective"]["oneOf"]] == [
        "#/$defs/objective-cross-entropy",
        "#/$defs/objective-reward",
    ]
    assert train["objective"]["default"] == {"name": "cross-entropy"}
    assert schema["properties"]["context"]["oneOf"][-1] == {"type": "null"}
    nodes = [node for node in _nodes(schema) if isinstance(node, dict)]
    for reference in (node["$ref"] for node in nodes if isinstance(node.get("$ref"), str)):
        assert reference.removeprefix("#/$defs/") in schema["$defs"], reference
    for node in nodes:
        for name, field in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            assert field.get("description") or name == "name", f"{name} has no description"


def test_schema_survives_an_option_it_has_no_words_for(toys: Toys) -> None:
    from pydantic import ConfigDict

    from capfw.core.protocols import Component, EncoderConfig, hookimpl

    class Odd(EncoderConfig):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        thing: range | None = None

    class Plugin:
        @hookimpl
        def register_encoders(self) -> list[Component]:
            return [toys.component("odd", Odd)]

    schema = json_schema(Registry([toys.Toys(), Plugin()]))

    assert [ref["$ref"] for ref in schema["properties"]["encoder"]["oneOf"]] == [
        "#/$defs/encoder-eye",
        "#/$defs/encoder-odd",
    ]


def test_quickstart_is_valid_and_a_wrong_option_of_it_is_told() -> None:
    quickstart = Path(__file__).resolve().parents[2] / "examples" / "quickstart.json"
    registry = Registry.discover()

    spec = load_spec(quickstart, registry=registry)

    assert load_spec(spec.to_json(), registry=registry) == spec
    found = problems(registry, quickstart, overrides={"/mapper/prefix_length": 0, "/decoder/with": 128})
    assert set(found) == {"/mapper/prefix_length", "/decoder/with"}
    assert 'Did you mean "width"?' in found["/decoder/with"].fix
