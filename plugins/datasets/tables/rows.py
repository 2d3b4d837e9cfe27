"""Reads a table into rows, one per caption, each with its line; what cannot be read becomes a problem with its line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....core.protocols import DataError, ImageId, nearest
from . import Columns

NOT_UTF8 = "not UTF-8"


@dataclass(frozen=True)
class Row:
    """One caption of an image; `split` and `image_id` are None where the table has none."""

    table: Path
    line: int
    file: str
    caption: str
    split: str | None
    image_id: ImageId | None


@dataclass(frozen=True)
class Problem:
    """What is wrong in one line of a table."""

    table: Path
    line: int
    text: str


def read_csv(table: Path, columns: Columns, delimiter: str) -> Iterator[Row | Problem]:
    """Rows of a CSV table; empty lines are passed over. Raises `DataError` when the first line names no such columns."""
    # RFC 4180 quoting, strictly: an unclosed quote is an error at its line, not a caption that swallows the file.
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
            cell = {name: " ".join(text.split()) for name, text in zip(header, cells, strict=True)}
            yield Row(
                table,
                line,
                cell[columns.file],
                cell[columns.caption],
                cell.get(columns.split) or None,
                cell.get(columns.image_id) or None,
            )


def read_jsonl(table: Path) -> Iterator[Row | Problem]:
    """Rows of a JSON lines table; empty lines are passed over."""
    for line, text in enumerate(text_of(table).split("\n"), start=1):
        if not text.strip():
            continue
        entry, problem = _entry(text)
        if problem:
            yield Problem(table, line, problem)
            continue
        captions = entry["captions"] if "captions" in entry else [entry["caption"]]
        for caption in captions:
            words = " ".join(caption.split())
            yield Row(table, line, entry["file"].strip(), words, entry.get("split"), entry.get("image_id"))


def _entry(line: str) -> tuple[Any, str]:
    """The JSON value of a line, and what is wrong with it; empty when nothing is."""
    if not _is_utf8(line):
        return None, NOT_UTF8
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as err:
        return None, f"not JSON: {err.msg} at column {err.colno}"
    return entry, _problem_of(entry)


def _problem_of(entry: Any) -> str:
    """What keeps a JSON value from being an image with captions; empty when nothing does."""
    if not isinstance(entry, dict):
        return "not a JSON object"
    if not isinstance(entry.get("file"), str):
        return '"file" must be a string'
    if ("caption" in entry) == ("captions" in entry):
        return 'needs either "caption" or "captions"'
    captions = entry["captions"] if "captions" in entry else [entry["caption"]]
    if not isinstance(captions, list) or not captions or not all(isinstance(each, str) for each in captions):
        return '"captions" must be a list of strings' if "captions" in entry else '"caption" must be a string'
    if not isinstance(entry.get("split"), str | None):
        return '"split" must be a string'
    if isinstance(entry.get("image_id"), bool) or not isinstance(entry.get("image_id"), int | str | None):
        return '"image_id" must be a number or a string'
    return ""


def text_of(table: Path) -> str:
    """The whole file; bytes that are not UTF-8 become lone surrogates, so that their lines can be named."""
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
            like = nearest(wanted, header)
            raise DataError(
                f'the first line must name one column "{wanted}"; it names {", ".join(header) or "nothing"}.',
                where=f"{table}, line 1",
                fix=f'Did you mean "{like}"? ' * bool(like)
                + f"Name the columns in the first line, or set /data/columns/{option} (and /data/delimiter).",
            )
    return header
