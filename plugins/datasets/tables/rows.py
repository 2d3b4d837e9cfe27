"""Reads a table into rows, one per caption, and problems, one per unreadable line; each has its line number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....core.protocols import DataError, ImageId, suggestion
from . import Columns

NOT_UTF8 = "not UTF-8"
_SEVERAL = "captions"  # the key of a list of captions in JSON lines, whatever the key of a single caption


@dataclass(frozen=True)
class Row:
    """One caption of an image; `split` and `image_id` are None where the table does not have them."""

    table: Path
    line: int
    file: str
    caption: str
    split: str | None
    image_id: ImageId | None


@dataclass(frozen=True)
class Problem:
    """One line of a table and its fault."""

    table: Path
    line: int
    text: str


def read_csv(table: Path, columns: Columns, delimiter: str) -> Iterator[Row | Problem]:
    """Yields the rows of a CSV table, without empty lines. Raises `DataError` when the first line lacks a column."""
    # Strict RFC 4180 quoting: an unclosed quote is an error at its line, not a caption that swallows the file.
    lines = csv.reader(io.StringIO(text_of(table), newline=""), delimiter=delimiter, strict=True)
    header = _header(table, lines, columns)
    while True:
        line = lines.line_num + 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as err:
            yield Problem(table, line, f"not CSV: {err}")
            continue
        if not cells:
            continue
        if not _is_utf8("".join(cells)):
            yield Problem(table, line, NOT_UTF8)
        elif len(cells) != len(header):
            yield Problem(
                table, line, f"{len(cells)} columns, not {len(header)} (text with a {delimiter!r} in it needs quotes)"
            )
        else:
            cell = {name: text.strip() for name, text in zip(header, cells, strict=True)}
            yield Row(
                table,
                line,
                cell[columns.file],
                " ".join(cell[columns.caption].split()),
                cell.get(columns.split) or None,
                cell.get(columns.image_id) or None,
            )


def read_jsonl(table: Path, columns: Columns) -> Iterator[Row | Problem]:
    """Yields the rows of a JSON lines table, without empty lines."""
    for line, text in enumerate(text_of(table).split("\n"), start=1):
        if not text.strip():
            continue
        entry, problem = _entry(text, columns)
        if problem:
            yield Problem(table, line, problem)
            continue
        file, split, image_id = entry[columns.file].strip(), entry.get(columns.split), entry.get(columns.image_id)
        for caption in _captions_of(entry, columns):
            yield Row(table, line, file, " ".join(caption.split()), split, image_id)


def _entry(line: str, columns: Columns) -> tuple[Any, str]:
    """Returns the JSON value of a line, and its fault or an empty text."""
    if not _is_utf8(line):
        return None, NOT_UTF8
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as err:
        return None, f"not JSON: {err.msg} at column {err.colno}"
    return entry, _problem_of(entry, columns)


def _problem_of(entry: Any, columns: Columns) -> str:
    """Returns the fault of a JSON value that should be an image with captions, or an empty text."""
    if not isinstance(entry, dict):
        return "not a JSON object"
    if not isinstance(entry.get(columns.file), str):
        return f'"{columns.file}" must be a string'
    if len(_caption_keys(entry, columns)) != 1:
        return f'needs either "{columns.caption}" or "{_SEVERAL}"'
    captions = _captions_of(entry, columns)
    if not captions or not all(isinstance(each, str) for each in captions):
        return f'"{_caption_keys(entry, columns)[0]}" must be a string, or a list of strings'
    if not isinstance(entry.get(columns.split), str | None):
        return f'"{columns.split}" must be a string'
    image_id = entry.get(columns.image_id)
    if isinstance(image_id, bool) or not isinstance(image_id, int | str | None):
        return f'"{columns.image_id}" must be a number or a string'
    return ""


def _caption_keys(entry: dict[str, Any], columns: Columns) -> list[str]:
    return [key for key in dict.fromkeys((columns.caption, _SEVERAL)) if key in entry]


def _captions_of(entry: dict[str, Any], columns: Columns) -> list[Any]:
    found = entry[_caption_keys(entry, columns)[0]]
    return found if isinstance(found, list) else [found]


def text_of(table: Path) -> str:
    """Reads the whole file; bytes that are not UTF-8 become lone surrogates, so that their lines can be reported."""
    try:
        return table.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as err:
        raise DataError(f"cannot be read: {err.strerror}.", where=str(table)) from err


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _header(table: Path, lines: Iterator[list[str]], columns: Columns) -> list[str]:
    try:
        header = [name.strip() for name in next(lines, [])]
    except csv.Error as err:
        raise DataError(f"not CSV: {err}.", where=f"{table}, line 1") from err
    if not _is_utf8("".join(header)):
        raise DataError("not UTF-8.", where=f"{table}, line 1", fix="Save the table as UTF-8.")
    for option, wanted in (("file", columns.file), ("caption", columns.caption)):
        if header.count(wanted) != 1:
            fix = f"Name the columns in the first line, or set /data/columns/{option} (and /data/delimiter)."
            raise DataError(
                f'the first line must name one column "{wanted}"; it names {", ".join(header) or "nothing"}.',
                where=f"{table}, line 1",
                fix=f"{suggestion(wanted, header)} {fix}".lstrip(),
            )
    return header
