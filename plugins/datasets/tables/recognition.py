"""Recognises tables for `capfw init`: their delimiter, their columns, and whether they name splits."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ....core.protocols import DataError, Shares
from . import Columns
from .rows import Problem, Row, read_csv, read_jsonl, text_of

_DELIMITERS = (",", "\t", ";", "|")
_USUAL_NAMES = {
    "file": ("file", "file_name", "filename", "image", "image_name", "image_file", "image_path", "path", "filepath"),
    "caption": ("caption", "captions", "text", "description", "sentence", "comment"),
    "split": ("split",),
    "image_id": ("image_id",),
}


def csv_options(table: Path) -> dict[str, Any] | None:
    """Returns columns, delimiter and shares of a CSV table; None when the first line does not list column names."""
    first_line = text_of(table).lstrip().partition("\n")[0].strip("\r")
    delimiter = max(_DELIMITERS, key=first_line.count)
    if first_line.startswith(("{", "[")) or delimiter not in first_line:
        return None
    try:
        header = [name.strip() for name in next(csv.reader([first_line], delimiter=delimiter))]
    except csv.Error:
        return None
    options = _columns(header)
    if delimiter != ",":
        options["delimiter"] = delimiter
    return options | _shares(read_csv(table, options.get("columns", Columns()), delimiter))


def jsonl_options(table: Path) -> dict[str, Any] | None:
    """Returns columns and shares of a JSON lines table; None when the first line is not a JSON object of one image."""
    first_line = text_of(table).lstrip().partition("\n")[0]
    try:
        entry = json.loads(first_line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or "images" in entry:
        return None
    options = _columns([key for key in entry if key != "captions"])
    return options | _shares(read_jsonl(table, options.get("columns", Columns())))


def _columns(header: Sequence[str]) -> dict[str, Any]:
    """Returns the option `columns` where the table has usual names that are not our defaults, else nothing."""
    found = {option: name for option, names in _USUAL_NAMES.items() if (name := _first(names, header))}
    named = {option: name for option, name in found.items() if name != option}
    return {"columns": Columns(**named)} if named else {}


def _first(names: Iterable[str], header: Iterable[str]) -> str | None:
    """Returns the column with the first of `names` that the table has, in upper or lower case."""
    by_lower = {column.lower(): column for column in header}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _shares(rows: Iterable[Row | Problem]) -> dict[str, Any]:
    """Returns shares unless a row names a split. Reading the data set later reports missing columns."""
    try:
        has_splits = any(isinstance(row, Row) and row.split for row in rows)
    except DataError:
        has_splits = False
    return {} if has_splits else {"shares": Shares(val=0.1, test=0.1)}
