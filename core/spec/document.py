"""Reads a spec as JSON values, finds repeated keys, and applies overrides."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import Problem, SpecError
from ..options.problems import pointer
from ..protocols.generation import SHARED_OPTIONS, GreedyOptions

Overrides: TypeAlias = Mapping[str, object] | Sequence[tuple[str, object]]
"""JSON pointers and values; as a sequence, a place may occur twice: `/metrics/-` appends each time."""


def read_document(
    source: Path | str | Mapping[str, object], what: str = "spec"
) -> tuple[str, dict[str, Any], Path, list[Problem]]:
    """Reads a spec, or another document (`what`).

    Returns its name for messages, its JSON values, the base folder of its paths, and repeated keys.
    """
    if isinstance(source, Mapping):
        return f"the {what}", json.loads(json.dumps(source, default=str)), Path.cwd(), []
    path = Path(source)

    def refuse(message: str, fix: str) -> SpecError:
        return SpecError([Problem("", message, fix)], source=str(path))

    repeated: list[tuple[dict[str, object], str]] = []

    def note_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        repeated.extend((made, key) for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return made

    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=note_repeated)
    except OSError as err:
        raise refuse(f"the {what} cannot be read: {err.strerror}.", "Check the path.") from err
    except UnicodeDecodeError as err:
        raise refuse(f"the {what} is not UTF-8 text.", "Save it as UTF-8.") from err
    except json.JSONDecodeError as err:
        raise refuse(f"not JSON, line {err.lineno}, column {err.colno}: {err.msg}.", "Correct this place.") from err
    if not isinstance(raw, dict):
        raise refuse(f"a {what} is a JSON object.", 'Begin with {"capfw": 1, ...}.')
    problems = [
        Problem(pointer([*keys, key]), "this key occurs twice in one object.", "Keep one of them.")
        for keys, value in _objects(raw)
        for owner, key in repeated
        if owner is value
    ]
    return str(path), raw, path.resolve().parent, problems


def _objects(value: object, keys: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], object]]:
    """Every object in a JSON value, with the keys that lead to it."""
    if isinstance(value, dict):
        yield keys, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _objects(child, (*keys, key))


def parse_override(text: str) -> tuple[str, object]:
    """`/train/epochs=1` -> ("/train/epochs", 1). A value that is not JSON is a plain string. Raises `SpecError`."""
    place, sign, value = text.partition("=")
    if not sign or not place.startswith("/"):
        raise SpecError(
            [Problem("", f'"{text}" is not an override.', _as_override(place, sign, value))], source="--set"
        )
    try:
        return place, json.loads(value)
    except ValueError:
        return place, value


def pairs_of(overrides: Overrides | None) -> list[tuple[str, object]]:
    """The places and values of overrides, in their order."""
    return list(overrides.items() if isinstance(overrides, Mapping) else overrides or ())


def override(raw: dict[str, Any], place: str, value: object) -> list[Problem]:
    """Writes `value` at a JSON pointer, and creates missing objects on the way. Returns the problems.

    At `-` (RFC 6902) or the next index of a list, it appends.
    """
    if not place.startswith("/"):
        return [Problem(place, "--set: a JSON pointer begins with a slash.", f'Write "{_as_pointer(place)}".')]
    keys = [key.replace("~1", "/").replace("~0", "~") for key in place.split("/")[1:]]
    target: Any = raw
    for depth, key in enumerate(keys):
        index: Any = key
        if isinstance(target, list):
            if (found := _index(key, len(target))) is None:
                return [_beyond(keys[: depth + 1], len(target))]
            index = found
            target += [None] * (index + 1 - len(target))
        elif not isinstance(target, dict):
            return [Problem(pointer(keys[:depth]), "--set: there is no object or list here.", "Set this place first.")]
        if depth == len(keys) - 1:
            target[index] = deepcopy(value)  # a later override may change it, not the value that was given
            break
        if (target.get(index) if isinstance(target, dict) else target[index]) is None:
            target[index] = [] if keys[depth + 1] == "-" else {}
        target = target[index]
    return []


def override_all(raw: dict[str, Any], changes: Sequence[tuple[str, object]]) -> list[Problem]:
    """Writes the values of all changes, in their order. Returns the problems.

    Another method of generation keeps only the options that all methods have, beside those that the changes give.
    Options of generation without a method are those of greedy search.
    """
    given, before = given_options("generate", changes), raw.get("generate")
    if isinstance(before, dict) and given.get("method", before.get("method")) != before.get("method"):
        raw["generate"] = {name: value for name, value in before.items() if name in SHARED_OPTIONS}
    problems = [problem for place, value in changes for problem in override(raw, place, value)]
    if given and isinstance(raw.get("generate"), dict):
        raw["generate"].setdefault("method", GreedyOptions().method)
    return problems


def given_options(section: str, changes: Sequence[tuple[str, object]]) -> Mapping[str, Any]:
    """The options of a section that the changes set, by name."""
    changed: dict[str, Any] = {section: {}}
    for place, value in changes:
        override(changed, place, value)
    found = changed[section]
    return found if isinstance(found, Mapping) else {}


def _as_override(place: str, sign: str, value: str) -> str:
    """The fix for an override that is not well formed."""
    suggested, example = _as_pointer(place), "as in --set /train/epochs=1"
    if not suggested:
        return f"Write --set /json/pointer=value, {example}."
    if not sign:
        return f"Write --set {suggested}=VALUE: an equals sign, and no space beside it."
    section = f", or put its section before it, {example}" if suggested.count("/") == 1 else ""
    return f"Write --set {suggested}={value}{section}."


def _as_pointer(place: str) -> str:
    """The JSON pointer that `train.epochs`, `train/epochs` or `metrics[0].name` probably stands for."""
    return pointer(re.findall(r"[^./\[\]$#]+", place))


def _index(key: str, length: int) -> int | None:
    """The index in a list that a key of a pointer names, the next one for "-"; None beyond the next one."""
    if key == "-":
        return length
    return int(key) if key.isdecimal() and int(key) <= length else None


def _beyond(keys: list[str], length: int) -> Problem:
    """The problem of the last of these keys, which is no place in a list of this length."""
    owner = pointer(keys[:-1])
    what = f"--set: the list has {length} item{'' if length == 1 else 's'}, counted from 0."
    return Problem(pointer(keys), what, f"Write {owner}/{length} or {owner}/- to append.")


def find_value(value: object, wanted: object) -> list[object] | None:
    """The keys that lead to the first `wanted` inside `value`; None where there is none."""
    if value == wanted:
        return []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if (keys := find_value(child, wanted)) is not None:
            return [key, *keys]
    return None
