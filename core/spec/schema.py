"""JSON Schema of a spec, for editors: pydantic's schema of `RunSpec`, with every installed component."""

from __future__ import annotations

from typing import Any

from pydantic import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from ..protocols import KINDS, Kind, KindRow
from ..registry import Registry
from .run_spec import RunSpec


def json_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema 2020-12 of `RunSpec`; each component section is one of the registered components, by `name`."""
    schema = RunSpec.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.setdefault("$defs", {})
    for row in KINDS.values():
        if row.section is not None:
            _fill_in(_holder(schema, row), row, _one_of(registry, row.name, definitions))
    schema["required"] = [key for key in schema["required"] if _is_required(schema, key)]
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "capfw run spec"}


def _holder(schema: dict[str, Any], row: KindRow) -> dict[str, Any]:
    """The part of the schema that describes the object around the section of this kind."""
    holder = schema
    for outer in (row.section or "").split("/")[1:-1]:
        holder = _referred(schema, holder["properties"][outer])
    return holder


def _referred(schema: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    name = place["$ref"].rpartition("/")[2] if "$ref" in place else ""
    found: dict[str, Any] = schema["$defs"][name] if name else place
    return found


def _fill_in(holder: dict[str, Any], row: KindRow, components: dict[str, Any]) -> None:
    key = (row.section or "").rpartition("/")[2]
    place = holder["properties"][key]
    if row.is_list:
        place["items"] = components
        return
    place.pop("anyOf", None)
    place["oneOf"] = components["oneOf"] + [{"type": "null"}] * row.is_optional
    if row.default is not None:
        place["default"] = dict(row.default)
        holder["required"].remove(key)


def _is_required(schema: dict[str, Any], key: str) -> bool:
    """Whether a spec must have the section: False if every key in it has a default."""
    section = _referred(schema, schema["properties"][key])
    return "properties" not in section or bool(section.get("required"))


def _one_of(registry: Registry, kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:
    references = []
    for component in registry.components(kind):
        key = f"{kind}-{component.name}"
        try:
            schema = component.config.model_json_schema(ref_template="#/$defs/" + key + "-{model}")
        except PydanticUserError:  # a third party's type without a JSON Schema: allow any options
            schema = {"type": "object"}
        for name, nested in schema.pop("$defs", {}).items():
            definitions[f"{key}-{name}"] = nested
        schema["properties"] = {"name": {"const": component.name}, **schema.get("properties", {})}
        schema["required"] = ["name", *schema.get("required", [])]
        schema["description"] = component.summary
        definitions[key] = schema
        references.append({"$ref": f"#/$defs/{key}"})
    return {"oneOf": references}
