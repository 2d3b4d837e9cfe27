"""JSON Schema of a spec over everything installed, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from .protocols import GenerateOptions, Kind
from .registry import Registry
from .settings import FeatureSettings, TrainSettings
from .spec import SECTIONS, RunSpec


def json_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema 2020-12 of `RunSpec`; each component section is one of the registered components, by `name`."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, field in RunSpec.model_fields.items():
        if name in SECTIONS:
            schema = _one_of(registry, SECTIONS[name], definitions)
            if name == "data":
                schema["oneOf"].append({"type": "null"})
        elif name == "metrics":
            schema = {"type": "array", "minItems": 1, "items": _one_of(registry, "metric", definitions)}
        else:
            schema = _field_schema(name, definitions)
        properties[field.alias or name] = {**schema, "description": field.description}
    required = [field.alias or name for name, field in RunSpec.model_fields.items() if field.is_required()]
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "capfw run spec",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "$defs": definitions,
    }


class _Own(BaseModel):
    """The sections that are not components; only their schema is used."""

    features: FeatureSettings
    train: TrainSettings
    generate: GenerateOptions


def _field_schema(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    if name in _Own.model_fields:
        schema = _Own.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema["$defs"])
        return dict(schema["properties"][name])
    plain: dict[str, dict[str, Any]] = {
        "schema_": {"type": "string"},
        "capfw": {"const": 1},
        "description": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0, "default": 42},
        "run_dir": {"type": "string"},
    }
    return plain[name]


def _one_of(registry: Registry, kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:
    references = []
    for component in registry.components(kind):
        key = f"{kind}-{component.name}"
        try:
            schema = component.config.model_json_schema(ref_template="#/$defs/" + key + "-{model}")
        except PydanticUserError:  # a stranger's type that JSON Schema has no words for: leave its options open
            schema = {"type": "object"}
        for name, nested in schema.pop("$defs", {}).items():
            definitions[f"{key}-{name}"] = nested
        schema["properties"] = {"name": {"const": component.name}, **schema.get("properties", {})}
        schema["required"] = ["name", *schema.get("required", [])]
        schema["description"] = component.summary
        definitions[key] = schema
        references.append({"$ref": f"#/$defs/{key}"})
    return {"oneOf": references}
