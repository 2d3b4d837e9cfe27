"""What a component is and takes, for `capfw plugins show` and the reference pages."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter
from pydantic.fields import FieldInfo

from .errors import PluginError, nearest
from .fields import Place
from .protocols import KINDS, Component, Kind
from .registry import Registry


@dataclass(frozen=True)
class Option:
    """One option of a component; `type` is in words, `default` a JSON value."""

    name: str
    type: str
    is_required: bool
    default: JsonValue
    description: str


@dataclass(frozen=True)
class Description:
    """A component in words; `fragment` is the part of a spec that asks for its smallest form."""

    kind: Kind
    name: str
    summary: str
    source: str
    options: tuple[Option, ...]
    fragment: str


def describe(registry: Registry, name: str) -> tuple[Description, ...]:
    """The components called `name`, of whatever kind, or the one called "kind/name".

    Raises `PluginError` with the nearest name when there is none.
    """
    return tuple(_describe(kind, component) for kind, component in find(registry, name))


def find(registry: Registry, name: str) -> tuple[tuple[Kind, Component], ...]:
    """The components called `name`, of whatever kind, or the one called "kind/name".

    Raises `PluginError` with the nearest name when there is none.
    """
    kind_wanted, _, bare = name.rpartition("/")
    known = [(kind, component) for kind in KINDS for component in registry.components(kind)]
    found = tuple((kind, c) for kind, c in known if c.name == bare and kind_wanted in ("", kind))
    if kind_wanted in KINDS and not found:
        registry.component(kind_wanted, bare)  # says what there is, and which plugins are broken
    if not found:
        close = nearest(name, [*(c.name for _, c in known), *(f"{kind}/{c.name}" for kind, c in known)])
        hint = f'Did you mean "{close}"?  ' if close else ""
        raise PluginError(f'no component is called "{name}".', fix=hint + "`capfw plugins` lists them.")
    return found


def _describe(kind: Kind, component: Component) -> Description:
    options = tuple(_option(field.alias or name, field) for name, field in component.config.model_fields.items())
    section = {
        "name": component.name,
        **component.example.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    key, value = ("metrics", [section]) if kind == "metric" else ("data" if kind == "dataset" else kind, section)
    fragment = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
    return Description(kind, component.name, component.summary, component.source, options, fragment)


def _option(name: str, field: FieldInfo) -> Option:
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    as_json = TypeAdapter(object).dump_python(default, mode="json", fallback=str)
    return Option(name, Place.of(field).words(), field.is_required(), as_json, field.description or "")
