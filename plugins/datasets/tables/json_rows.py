"""Reads JSON lines, or a JSON list of objects, into rows and problems."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import Columns
from .rows import NOT_UTF8, Problem, Row, column_faults
from .text import is_utf8, text_of

SEVERAL = "captions"  # the key of a list of captions, whatever the key of a single caption
_SPACE = re.compile(r"\s*")
Entry = tuple[int, Any]


def entries_of(table: Path) -> Iterator[Entry | Problem]:
    """Yields the line number and JSON value of each line, or of each item where the file is one list."""
    text = text_of(table)
    if text.lstrip().startswith("["):
        yield from _items_of(table, text)
        return
    for line, each in enumerate(text.split("\n"), start=1):
        if each.strip() and not is_utf8(each):
            yield Problem(table, line, NOT_UTF8)
        elif each.strip():
            try:
                yield line, json.loads(each)
            except json.JSONDecodeError as err:
                yield Problem(table, line, f"not JSON: {err.msg} at column {err.colno}")


def _items_of(table: Path, text: str) -> Iterator[Entry | Problem]:
    """Yields the items of a JSON list with the lines on which they begin; the first fault ends it."""
    decoder = json.JSONDecoder()
    place, line, counted, between = text.index("[") + 1, 1, 0, "]"
    while True:
        place = _after_space(text, place)
        if text.startswith("]", place) and between == "]":
            return
        try:
            item, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as err:
            yield Problem(table, err.lineno, f"not JSON: {err.msg} at column {err.colno}")
            return
        line, counted = line + text.count("\n", counted, place), place
        yield (line, item) if is_utf8(text[place:end]) else Problem(table, line, NOT_UTF8)
        place = _after_space(text, end)
        between = text[place : place + 1]
        if between == "]":
            return
        if between != ",":
            line += text.count("\n", counted, place)
            yield Problem(table, line, "not JSON: the list needs a comma or its end here")
            return
        place += 1


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None, "the pattern matches nothing too"
    return found.end()


def keys_of(entries: list[Entry | Problem]) -> list[str]:
    """Returns the keys of all objects, in the order of their first use."""
    values = (each[1] for each in entries if not isinstance(each, Problem))
    return list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))


def read_jsonl(table: Path, columns: Columns) -> Iterator[Row | Problem]:
    """Yields the rows of JSON lines or of a JSON list. A key that no object has is one problem, not one per line."""
    entries = list(entries_of(table))
    keys = keys_of(entries)
    faults = column_faults(keys, columns, stands_in={name: SEVERAL for name in columns.captions})
    for fault in faults:
        yield Problem(table, 1, fault, is_of_columns=True)
    has_file, has_caption = columns.file in keys, bool({*columns.captions, SEVERAL} & {*keys})
    for each in entries:
        if isinstance(each, Problem):
            yield each
            continue
        line, entry = each
        if problem := _problem_of(entry, columns, has_file=has_file, has_caption=has_caption):
            yield Problem(table, line, problem)
            continue
        file = str(entry[columns.file]).strip() if has_file else None
        split, image_id = entry.get(columns.split), entry.get(columns.image_id)
        for caption in _captions_of(entry, columns) if has_caption else (None,):
            text = None if caption is None else " ".join(caption.split())
            yield Row(table, line, file, text, split or None, image_id)


def _problem_of(entry: Any, columns: Columns, *, has_file: bool, has_caption: bool) -> str:
    """Returns the fault of a JSON value that should be an image with captions, or an empty text."""
    if not isinstance(entry, dict):
        return "not a JSON object"
    file = entry.get(columns.file)
    if has_file and (isinstance(file, bool) or not isinstance(file, str | int)):
        return f'"{columns.file}" must be a string'
    captions = has_caption and _problem_of_captions(entry, columns)
    if captions:
        return captions
    if not isinstance(entry.get(columns.split), str | None):
        return f'"{columns.split}" must be a string'
    image_id = entry.get(columns.image_id)
    if isinstance(image_id, bool) or not isinstance(image_id, int | str | None):
        return f'"{columns.image_id}" must be a number or a string'
    return ""


def _problem_of_captions(entry: Mapping[str, Any], columns: Columns) -> str:
    keys = _caption_keys(entry, columns)
    if not keys or (len(keys) > 1 and len(columns.captions) == 1):
        names = [f'"{name}"' for name in dict.fromkeys((*columns.captions, SEVERAL))]
        return f"needs {'either ' * (len(names) == 2)}{' or '.join(names)}"
    for key in keys:
        value = entry[key]
        if not isinstance(value, str) and not (
            isinstance(value, list) and value and all(isinstance(each, str) for each in value)
        ):
            return f'"{key}" must be a string, or a list of strings'
    return ""


def _caption_keys(entry: Mapping[str, Any], columns: Columns) -> list[str]:
    """Returns the keys of an object that hold captions. Where captions have several keys, an object may lack some."""
    keys = [key for key in dict.fromkeys((*columns.captions, SEVERAL)) if key in entry]
    if len(columns.captions) == 1:
        return keys
    return [key for key in keys if entry[key] is not None]


def _captions_of(entry: Mapping[str, Any], columns: Columns) -> list[str]:
    """Returns the captions; of several keys those that are not empty."""
    found: list[str] = []
    for key in _caption_keys(entry, columns):
        found += entry[key] if isinstance(entry[key], list) else [entry[key]]
    filled = [text for text in found if text.strip()]
    return found if len(columns.captions) == 1 else filled or found[:1]
