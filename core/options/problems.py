"""Turns pydantic's errors into problems with JSON pointers and fixes, in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ..errors import Problem, choices, suggestion
from .fields import Place, contradictions, field_names, field_of, shown

_SAID_BY_WORDS = re.compile(
    r".*(_type|_parsing|_from_float|_error|_too_long|_too_short)|greater_than.*|less_than.*|"
    r"finite_number|multiple_of|too_long|too_short|enum|bool_.*"
)


def pointer(keys: Iterable[object]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def from_pydantic(err: ValidationError, raw: object, model: type[BaseModel], prefix: str = "") -> list[Problem]:
    """One problem per place, with its JSON pointer. `raw` is the JSON value that `model` rejected."""
    problems: dict[str, Problem] = {}
    for error in err.errors(include_url=False):
        keys = _keys(raw, error)
        problem = _problem(prefix, keys, error, raw, model)
        problems.setdefault(problem.pointer, problem)  # every member of a union reports an error; one is enough
    # An error inside one member of a union is more specific than the mismatch of the other members.
    return [p for place, p in problems.items() if not any(other.startswith(place + "/") for other in problems)]


def _keys(raw: object, error: Mapping[str, Any]) -> list[object]:
    """`error["loc"]` without tags and type names of unions, which are not places in the JSON value."""
    loc, missing = list(error["loc"]), []
    if error["type"] in ("missing", "missing_argument"):
        missing = [loc.pop()]
    places = list(_places(raw, loc))
    exact = (keys for keys, value in places if value == error.get("input"))  # a tag may have the name of a key
    return [*next(exact, places[0][0]), *missing]


def _places(value: Any, loc: Sequence[object]) -> Iterator[tuple[list[object], object]]:
    """The ways to follow `loc` into `value`, those that skip fewer elements first."""
    if not loc:
        yield [], value
        return
    key, rest = loc[0], loc[1:]
    is_item = isinstance(value, list | tuple) and isinstance(key, int) and key < len(value)
    if is_item or (isinstance(value, Mapping) and key in value):
        for keys, found in _places(value[key], rest):
            yield [key, *keys], found
    yield from _places(value, rest)


def _problem(
    prefix: str, keys: Sequence[object], error: Mapping[str, Any], raw: object, model: type[BaseModel]
) -> Problem:
    kind, context, place = str(error["type"]), error.get("ctx", {}), prefix + pointer(keys)
    parent, value = _walk(Place(model), keys[:-1], raw)
    about = parent.inside(keys[-1], value) if parent and keys else Place(model)
    description = about.description if about else ""
    if kind == "extra_forbidden":
        return _unknown_key(prefix, keys, parent, value)
    if kind == "missing":
        return Problem(place, f"this is required: {about.words() if about else 'it has no default'}.", description)
    if kind == "missing_file":
        return Problem(place, f"{error['msg']}.", _where_files_are(context), is_missing_input=True)
    if kind.startswith("union_tag"):
        return _wrong_tag(place, error, about)
    if about is not None and _SAID_BY_WORDS.fullmatch(kind) and kind not in ("value_error", "assertion_error"):
        return _wrong_value(place, error, about)
    message = re.sub(r"^(Value error|Assertion failed), ", "", str(error["msg"])).replace("Input should", "must")
    return Problem(place, message if message.endswith(".") else f"{message}.", description)


def _walk(place: Place | None, keys: Sequence[object], value: Any) -> tuple[Place | None, Any]:
    for key in keys:
        place = place.inside(key, value) if place else None
        value = value[key]
    return place, value


def _wrong_value(place: str, error: Mapping[str, Any], about: Place) -> Problem:
    value = error.get("input")
    words = about.words()
    hint = suggestion(value, re.findall(r'"([^"]*)"', words)) if isinstance(value, str) else ""
    return Problem(place, f"must be {words}; got {shown(value)}.", f"{hint}\n{about.description}".strip())


def _unknown_key(prefix: str, keys: Sequence[object], parent: Place | None, value: object) -> Problem:
    key, place = str(keys[-1]), prefix + pointer(keys)
    first, *others = (parent.models(value) if parent else []) or [BaseModel]
    lines = [choices("Keys here", field_names(first), key)]
    for other in others:
        if key in field_names(other):
            for tag, wanted in contradictions(other, value):
                lines.append(f'"{key}" goes with {shown(wanted)}: set {prefix}{pointer([*keys[:-1], tag])} to it.')
    return Problem(place, f'unknown key "{key}".', "\n".join(lines))


def _wrong_tag(place: str, error: Mapping[str, Any], about: Place | None) -> Problem:
    """The problem of a tag that is missing, or that chooses no member of a union."""
    key, value = str(error["ctx"]["discriminator"]).strip("'"), error.get("input")
    fields = [field_of(model, key) for model in (about.models({}) if about else [])]
    tags = [str(tag) for field in fields if field for tag in get_args(field.annotation)]
    given = value.get(key) if isinstance(value, Mapping) else value
    allowed = choices("Allowed", tags, given)
    is_missing = error["type"] == "union_tag_not_found"
    what = "this is required." if is_missing else f"{shown(given)} is not allowed here."
    return Problem(f"{place}/{key}", what, allowed)


def _where_files_are(context: Mapping[str, Any]) -> str:
    path, parent = Path(context["path"]), Path(context["parent"])
    fix = f"The nearest folder that exists is {parent}. Paths are relative to the spec file."
    wanted = path.relative_to(parent).parts[0]
    try:
        hint = suggestion(wanted, [entry.name for entry in parent.iterdir()])
    except OSError:  # a folder without permission to list it
        hint = ""
    return f"{fix}  {hint}".rstrip()
