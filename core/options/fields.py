"""Describes the type of an option in words, and finds the part of a config model that describes a JSON value."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WORDS: Mapping[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a path",
    type(None): "null",
}
_ANYTHING = "a JSON value"
_LIMITS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
_SIZES = {"min_length": "at least", "max_length": "at most"}


@dataclass(frozen=True)
class Place:
    """The description of one place in a JSON value: its type, its limits, and its field's description."""

    annotation: object
    metadata: tuple[object, ...] = ()
    description: str = ""

    @classmethod
    def of(cls, field: FieldInfo) -> Place:
        """The place that a field of a model describes."""
        return cls(field.annotation, tuple(field.metadata), field.description or "")

    def words(self) -> str:
        """The allowed values in words: "a number, more than 0, or null"."""
        members = [(leaf, _words(leaf, metadata)) for leaf, metadata in _leaves(self.annotation, self.metadata)]
        several = list(dict.fromkeys(words for _, words in members))
        commas = ", " if any("," in words for words in several) else " "
        return several[0] if len(several) == 1 else f"{', '.join(several[:-1])}{commas}or {several[-1]}"

    def models(self, value: object) -> list[type[BaseModel]]:
        """The models that may describe the object here; in a union, the one that the tag in `value` chooses is first."""
        found = [leaf for leaf, _ in _leaves(self.annotation) if isinstance(leaf, type) and issubclass(leaf, BaseModel)]
        return sorted(found, key=lambda model: len(contradictions(model, value)))

    def inside(self, key: object, value: object) -> Place | None:
        """The place under `key` of the object or list `value` at this place."""
        for model in self.models(value):
            if (field := field_of(model, key)) is not None:
                return Place.of(field)
        for leaf, _ in _leaves(self.annotation):
            arguments = get_args(leaf)
            if not arguments:
                continue
            if isinstance(key, int) and get_origin(leaf) is tuple and arguments[-1] is not Ellipsis:
                return Place(arguments[min(key, len(arguments) - 1)], description=self.description)
            item = arguments[1] if get_origin(leaf) in (dict, Mapping) and len(arguments) == 2 else arguments[0]
            return Place(item, description=self.description)
        return None


def field_names(model: type[BaseModel]) -> list[str]:
    """The keys of a model in JSON."""
    return [field.alias or name for name, field in model.model_fields.items()]


def field_of(model: type[BaseModel], key: object) -> FieldInfo | None:
    """The field with the JSON key `key`."""
    return next((field for name, field in model.model_fields.items() if key == (field.alias or name)), None)


def contradictions(model: type[BaseModel], value: object) -> list[tuple[str, object]]:
    """The `Literal` fields of `model` for which `value` has a value that is not allowed, each with an allowed one."""
    if not isinstance(value, Mapping):
        return []
    return [
        (name, get_args(field.annotation)[0])
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and value.get(name, field.default) not in get_args(field.annotation)
    ]


def listed_values(field: FieldInfo) -> tuple[object, ...]:
    """The values that a field lists (`Literal`), over all members of a union."""
    return tuple(
        value for leaf, _ in _leaves(field.annotation) if get_origin(leaf) is Literal for value in get_args(leaf)
    )


def shown(value: object) -> str:
    """A value as JSON, truncated to 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _leaves(annotation: object, metadata: Sequence[object] = ()) -> Iterator[tuple[Any, tuple[object, ...]]]:
    """The members of a union without `Annotated`, each with the limits."""
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        spread = [each for note in notes for each in (note.metadata if isinstance(note, FieldInfo) else [note])]
        yield from _leaves(inner, (*spread, *metadata))
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _leaves(member, metadata)
    else:
        yield annotation, tuple(metadata)


def _words(leaf: Any, metadata: Sequence[object]) -> str:
    origin, arguments = get_origin(leaf), get_args(leaf)
    if leaf is type(None):
        return "null"
    if origin is Literal:
        return _one_of([shown(value) for value in arguments])
    if isinstance(leaf, type) and issubclass(leaf, Enum):
        return _one_of([shown(member.value) for member in leaf])
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}" + (_each(arguments[0]) if len(set(arguments)) == 1 else "")
    if origin in (list, tuple, set, frozenset) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return ", ".join([f"a list{_each(arguments[0])}", *_limits(metadata, "long")])
    is_object = isinstance(leaf, type) and issubclass(leaf, BaseModel)
    if is_object or leaf is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return "an object"
    own_words = getattr(leaf, "in_words", _ANYTHING)
    return ", ".join([_WORDS.get(leaf, own_words), *_limits(metadata, "long")])


def _limits(metadata: Sequence[object], unit: str) -> Iterator[str]:
    for note in metadata:
        for name, words in _LIMITS.items():
            if hasattr(note, name):
                yield f"{words} {getattr(note, name)}"
        for name, words in _SIZES.items():
            if hasattr(note, name):
                yield f"{words} {getattr(note, name)} {unit}"


def _each(item: object) -> str:
    words = Place(item).words()
    return "" if words == _ANYTHING else f" (each {words})"


def _one_of(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"
