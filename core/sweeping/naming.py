"""Names of trials, and short labels of the places and values of a sweep."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from pydantic import JsonValue

_LONGEST_VALUE, _LONGEST_NAME = 40, 120
_CLEAN = re.compile(r"[\w+-][\w.+-]*", re.ASCII)
_ABSENT = object()


def short_places(places: Sequence[str]) -> dict[str, str]:
    """A short label of each place: "lr" for "/train/lr", or more of the pointer where that would be ambiguous."""
    split = {place: place.split("/")[1:] for place in places}
    labels: dict[str, str] = {}
    for place, keys in split.items():
        length = 1
        while length < len(keys) and _is_unclear(keys, length, split.values()):
            length += 1
        labels[place] = "/".join(keys[-length:])
    return labels


def _is_unclear(keys: Sequence[str], length: int, every: Collection[Sequence[str]]) -> bool:
    is_bare = keys[-length] == "name" or keys[-length].isdigit() or keys[-length] == "-"
    return is_bare or sum(other[-length:] == keys[-length:] for other in every) > 1


def value_label(value: JsonValue, others: Sequence[JsonValue]) -> str:
    """A value as the cell of a table: of a component its name, and the options in which it differs from `others`."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return _plain(value)
    like = [each for each in others if isinstance(each, dict) and each.get("name") == value["name"] and each != value]
    differing = [key for key in value if any(each.get(key, _ABSENT) != value[key] for each in like)]
    options = ", ".join(f"{key}={_plain(value[key])}" for key in differing)
    return f"{value['name']} ({options})" if options else str(value["name"])


def _plain(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)


def trial_name(values: Mapping[str, JsonValue], seed: int | None, labels: Mapping[str, str]) -> str:
    """The name of a trial and of its run directory: "mapper-mlp__lr-0.001__seed-0".

    It has no comma and no equals sign, which `capfw compare` reads as signs between runs. It depends only on the values, so
    that a sweep with more values finds the runs of the smaller one. A value that does not fit into a file name gets a
    short hash.
    """
    parts = [f"{labels[place]}-{_in_a_name(value)}" for place, value in values.items()]
    parts += [] if seed is None else [f"seed-{seed}"]
    name = "__".join(parts).replace("/", ".") or "base"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 7]}-{_hash(name)}"


def _in_a_name(value: JsonValue) -> str:
    """A value in characters that every file system takes; with a hash where these do not suffice, or would be too many."""
    options = value if isinstance(value, dict) else {}
    name = str(options["name"]) if "name" in options else ""
    pairs = [f"{key}-{_plain(option)}" for key, option in options.items() if key != "name"]
    text = "-".join([name] * bool(name) + pairs) if options else _plain(value)
    if re.fullmatch(_CLEAN, text) and len(text) <= _LONGEST_VALUE:
        return text
    begin = re.sub(r"[^\w+-]+", "_", name or text, flags=re.ASCII).strip("_")
    return f"{begin[: _LONGEST_VALUE - 7]}-{_hash(value)}"


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]


def distinct(names: Sequence[str], values: Sequence[object]) -> list[str]:
    """The names, with a hash of its values behind each that another one equals, also where case does not count."""
    counts = Counter(name.casefold() for name in names)
    return [
        f"{name}-{_hash(value)}" if counts[name.casefold()] > 1 else name
        for name, value in zip(names, values, strict=True)
    ]
