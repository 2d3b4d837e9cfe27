"""Describes components and their options, for `capfw plugins show` and the reference pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic.fields import FieldInfo

from ..errors import PluginError, suggestion
from ..options.fields import Place, field_names
from ..protocols import KINDS, Component, Kind, MetricConfig
from ..registry import Registry


@dataclass(frozen=True)
class Option:
    """One option of a component; `type` is in words, `default` is a JSON value.

    The name of an option inside an object is its path, such as "architecture/width".
    """

    name: str
    type: str
    is_required: bool
    default: JsonValue
    description: str


@dataclass(frozen=True)
class Description:
    """The description of a component.

    `fragment` is the part of a spec that names its smallest form; for a kind that no spec names, the command that uses it.
    `scores` and `lower_is_better` are those of a metric under the options of its smallest form.
    """

    kind: Kind
    name: str
    summary: str
    source: str
    options: tuple[Option, ...]
    fragment: str
    scores: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()


def describe(registry: Registry, name: str) -> tuple[Description, ...]:
    """The components called `name`, of any kind, or the one called "kind/name".

    Raises `PluginError` with the nearest name when there is none.
    """
    return tuple(_describe(kind, component) for kind, component in find(registry, name))


def find(registry: Registry, name: str) -> tuple[tuple[Kind, Component], ...]:
    """The components called `name`, of any kind, or the one called "kind/name".

    Raises `PluginError` when there is none, with the nearest name and the plugins that are broken, left out or in conflict.
    """
    kind_wanted, _, bare = name.rpartition("/")
    known = [(kind, component) for kind in KINDS for component in registry.components(kind)]
    found = tuple((kind, c) for kind, c in known if c.name == bare and kind_wanted in ("", kind))
    for kind in KINDS:
        if kind == kind_wanted and not found:
            registry.component(kind, bare)  # raises, with the registered names and the broken plugins
    if not found:
        names = [*(c.name for _, c in known), *(f"{kind}/{c.name}" for kind, c in known)]
        clashes = dict.fromkeys(plugin.cause for plugin in registry.plugins if plugin.state == "clash")
        lines = [*registry.absences(), *clashes, f"{suggestion(name, names)}  `capfw plugins` lists them.".lstrip()]
        raise PluginError(f'no component is called "{name}".', fix="\n".join(lines))
    return found


def _describe(kind: Kind, component: Component) -> Description:
    options = options_of(component.config)
    section = {
        "name": component.name,
        **component.example.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    if KINDS[kind].section is None:
        fragment = KINDS[kind].command.replace("NAME", component.name)
        return Description(kind, component.name, component.summary, component.source, options, fragment)
    about = Description(
        kind, component.name, component.summary, component.source, options, KINDS[kind].fragment(section)
    )
    if isinstance(component.example, MetricConfig):
        names, lower = component.example.score_names(), component.example.lower_is_better()
        about = replace(about, scores=names, lower_is_better=lower)
    return about


def scores_in_words(about: Description) -> str:
    """The scores of a metric in one line, such as "TER (less is better), TER-max"; empty for other kinds."""
    return ", ".join(f"{name} (less is better)" if name in about.lower_is_better else name for name in about.scores)


def options_of(model: type[BaseModel]) -> tuple[Option, ...]:
    """The options of a config model. Each is followed by the options inside it, if it may be an object."""
    return tuple(_options(model, "", ()))


def _options(model: type[BaseModel], inside: str, around: tuple[type[BaseModel], ...]) -> Iterator[Option]:
    for key, field in zip(field_names(model), model.model_fields.values(), strict=True):
        yield _option(inside + key, field)
        for nested in Place.of(field).models(None):
            if nested not in (model, *around):  # a model that contains itself has no end
                yield from _options(nested, f"{inside}{key}/", (model, *around))


def _option(name: str, field: FieldInfo) -> Option:
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    as_json = TypeAdapter(object).dump_python(default, mode="json", fallback=str)
    return Option(name, Place.of(field).words(), field.is_required(), as_json, field.description or "")
