"""JSON Schema of a sweep file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ..registry import Registry
from ..spec.schema import json_schema
from .sweep_spec import Sweep


def sweep_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema 2020-12 of a sweep file. An inline base spec may have every installed component, and may lack keys."""
    schema = Sweep.model_json_schema(ref_template="#/$defs/{model}")
    spec = json_schema(registry)
    schema["$defs"] = {**spec["$defs"], **schema.get("$defs", {})}
    base = {key: value for key, value in spec.items() if key not in ("$schema", "$defs", "title", "required")}
    place = schema["properties"]["base"]
    place["anyOf"] = [{"type": "string"}, base]
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "capfw sweep"}
