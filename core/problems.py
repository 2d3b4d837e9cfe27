"""Turns pydantic's errors into problems with JSON pointers and remedies in our own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from .errors import Problem, nearest

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a string",
    "dict": "an object",
    "model": "an object",
    "tuple": "a list",
    "list": "a list",
    "path": "a path",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def pointer(keys: Iterable[object]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def from_pydantic(err: ValidationError, raw: object, model: type[BaseModel], prefix: str = "") -> list[Problem]:
    """One problem an error, without the values' surroundings. `raw` is the JSON value `model` was to be made from."""
    problems = []
    seen = set()
    for error in err.errors(include_url=False, include_context=True):
        keys = _keys_in(raw, error["loc"])
        place = prefix + pointer(keys)
        # A union reports every member's complaint; the first one is enough.
        if place not in seen:
            seen.add(place)
            problems.append(_problem(place, dict(error), keys, raw, model))
    return problems


def _keys_in(raw: object, loc: Sequence[object]) -> list[object]:
    """`loc` without what is not a place in the JSON value: the tags of unions and the names of types."""
    keys: list[object] = []
    here = raw
    for number, key in enumerate(loc):
        if isinstance(here, Mapping):
            is_final = number == len(loc) - 1
            if key in here:
                keys.append(key)
                here = here[key]
            elif is_final and isinstance(key, str) and "[" not in key:
                keys.append(key)  # a key that is missing
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            keys.append(key)
            here = here[key]
    return keys


def _problem(
    place: str, error: Mapping[str, Any], keys: Sequence[object], raw: object, model: type[BaseModel]
) -> Problem:
    kind, context = str(error["type"]), error.get("ctx", {})
    owners = _models_at(model, keys[:-1], raw)
    names = sorted({name for owner in owners for name in _field_names(owner)})
    field = next((f for o in owners if (f := _field(o, keys[-1])) is not None), None) if keys else None
    about = f"{field.description}" if field is not None and field.description else ""
    if kind == "extra_forbidden":
        return _unknown_key(place, str(keys[-1]), owners, names, raw, keys)
    if kind == "missing":
        return Problem(place, "this is required.", about or f"Keys here: {', '.join(names)}.")
    if kind == "missing_file":
        fix = f"The nearest folder that exists is {context['parent']}. Paths are relative to the spec file."
        return Problem(place, str(error["msg"]) + ".", fix)
    if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found", "enum"):
        return _not_allowed(place, error, about)
    value = _shown(error.get("input"))
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return Problem(place, f"{value} is out of range: it must be {words} {context[key]}.", about)
    wanted = next((words for name, words in _TYPES.items() if kind.startswith(name)), None)
    if wanted is not None and kind.endswith(("_type", "_parsing", "_from_float")):
        return Problem(place, f"{value} is not {wanted}.", about)
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(place, message, about)


def _unknown_key(
    place: str, key: str, owners: Sequence[type[BaseModel]], names: Sequence[str], raw: object, keys: Sequence[object]
) -> Problem:
    own = [name for owner in owners[:1] for name in _field_names(owner)] or list(names)
    siblings = _siblings(owners, key)
    close = nearest(key, own)
    fix = f"Keys here: {', '.join(own)}." + (f'  Did you mean "{close}"?' if close else "")
    return Problem(place, f'unknown key "{key}".', fix + (f"\n{siblings}" if siblings else ""))


def _siblings(owners: Sequence[type[BaseModel]], key: str) -> str:
    """For options of a union: which method has this key."""
    having = [o for o in owners[1:] if key in _field_names(o)]
    tags = [
        tag
        for o in having
        for f in o.model_fields.values()
        for tag in get_args(f.annotation)[:1]
        if isinstance(tag, str)
    ]
    return f'"{key}" is an option of {" and ".join(repr(t) for t in tags)}.' if tags else ""


def _not_allowed(place: str, error: Mapping[str, Any], about: str) -> Problem:
    context = error.get("ctx", {})
    allowed = str(context.get("expected") or context.get("expected_tags") or "")
    value = error.get("input")
    if error["type"].startswith("union_tag"):
        tag_key = str(context.get("discriminator", "")).strip("'")
        value = value.get(tag_key) if isinstance(value, Mapping) else value
        place = place if not tag_key else f"{place}/{tag_key}"
    words = [word.strip().strip("'") for part in allowed.split(" or ") for word in part.split(",")]
    close = nearest(value, words) if isinstance(value, str) else None
    fix = f"Allowed: {', '.join(words)}." + (f'  Did you mean "{close}"?' if close else "")
    return Problem(
        place,
        f"{_shown(value)} is not allowed here." if value is not None else "this is required.",
        f"{fix}\n{about}".strip(),
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _models_at(model: type[BaseModel], keys: Sequence[object], raw: object) -> list[type[BaseModel]]:
    """The models that may describe the object at `keys`; where a union's tag chooses one, that one comes first."""
    here: list[type[BaseModel]] = [model]
    value = raw
    for key in keys:
        value = value[key] if isinstance(value, Mapping) and key in value else None  # type: ignore[index]
        if isinstance(key, int):
            continue
        fields = [f for m in here if (f := _field(m, key)) is not None]
        here = [m for f in fields for m in _models_in(f.annotation)]
    if isinstance(value, Mapping):
        here.sort(key=lambda m: not _is_tagged(m, value))
    return here


def _is_tagged(model: type[BaseModel], value: Mapping[str, object]) -> bool:
    return any(
        name in value and value[name] in get_args(f.annotation)
        for name, f in model.model_fields.items()
        if get_args(f.annotation)
    )


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in get_args(annotation) for m in _models_in(argument)]


def _field_names(model: type[BaseModel]) -> list[str]:
    return [f.alias or name for name, f in model.model_fields.items()]


def _field(model: type[BaseModel], key: object) -> FieldInfo | None:
    return next((f for name, f in model.model_fields.items() if key in (name, f.alias)), None)
