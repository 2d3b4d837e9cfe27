"""The JSON Schema agrees with `load_spec` on real specs; needs jsonschema, which capfw itself does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capfw.core.registry import Registry
from capfw.core.spec.schema import json_schema

jsonschema: Any = pytest.importorskip("jsonschema", reason="the JSON Schema is checked with jsonschema: not installed")
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.json"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema(Registry.discover())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_example_is_valid(validator: Any, example: Path) -> None:
    spec = json.loads(example.read_text(encoding="utf-8"))
    assert [error.json_path for error in validator.iter_errors(spec)] == []

    spec["$schema"] = "./capfw.schema.json"
    assert validator.is_valid(spec)
    for wrong in ({"enconder": {}}, {"seed": -1}, {"encoder": {"name": "clipp"}}, {"train": {"epochs": "3"}}):
        assert not validator.is_valid(spec | wrong)
