"""Reads the captions of a table without its images, for `capfw score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ....core.protocols import CaptionEntry, DataError, ImageId, listed
from .csv_rows import read_csv
from .json_rows import read_jsonl
from .recognition import Recognized, recognize_csv, recognize_json, unclear_columns
from .rows import NOT_UTF8, Problem, Row
from .text import AS_UTF8

_NUM_SHOWN = 20
Named = Mapping[str, Sequence[str]]


def csv_captions(table: Path, named: Named) -> list[CaptionEntry] | None:
    """Returns the captions of a CSV table by image; None where the first line does not list column names."""
    found = recognize_csv(table, named)
    return None if found is None else _by_image(table, found, read_csv(table, found.columns, found.delimiter))


def json_captions(table: Path, named: Named) -> list[CaptionEntry] | None:
    """Returns the captions of JSON lines or of a JSON list by image; None where the first value is not of one image."""
    found = recognize_json(table, named)
    return None if found is None else _by_image(table, found, read_jsonl(table, found.columns))


def _by_image(table: Path, found: Recognized, rows: Iterable[Row | Problem]) -> list[CaptionEntry]:
    """Returns one entry per image, by its id, else by its file. An empty caption counts only where it is the only one."""
    if found.unclear:
        raise unclear_columns(table, found)
    entries: dict[ImageId, CaptionEntry] = {}
    problems: list[Problem] = []
    for row in rows:
        if isinstance(row, Problem):
            problems.append(row)
            continue
        image_id = row.image_id if row.image_id is not None else row.file or ""
        if image_id == "":
            problems.append(Problem(table, row.line, "no file name"))
            continue
        entry = entries.get(image_id) or CaptionEntry(image_id, (), row.file or "", row.split or "")
        if entry.split != (row.split or ""):
            problems.append(
                Problem(table, row.line, f'{image_id} is in split "{row.split}" here, and "{entry.split}" before')
            )
        filled = tuple(text for text in (*entry.captions, row.caption or "") if text)
        entries[image_id] = replace(entry, captions=filled or ("",))
    if problems:
        lines = [f"line {problem.line}: {problem.text}" for problem in problems]
        count = f"{len(lines)} row{'s are' * (len(lines) > 1) or ' is'} wrong"
        shown = listed(lines, _NUM_SHOWN, between="\n  ")
        fix = AS_UTF8 if any(problem.text == NOT_UTF8 for problem in problems) else "Correct the rows."
        raise DataError(f"{count}.\n  {shown}", where=str(table), fix=fix)
    return list(entries.values())
