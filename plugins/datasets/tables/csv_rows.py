"""Reads a CSV table into rows and problems."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....core.protocols import DataError
from . import Columns
from .rows import NOT_UTF8, Problem, Row, column_faults
from .text import is_utf8, text_of


def cells_of(table: Path, delimiter: str) -> Iterator[tuple[int, list[str]] | Problem]:
    """Yields the line number and cells of each line that is not empty; first the header. Leaves Excel's `sep=;` out."""
    # Strict RFC 4180 quoting: an unclosed quote is an error at its line, not a caption that swallows the file.
    lines = csv.reader(io.StringIO(text_of(table), newline=""), delimiter=delimiter, strict=True)
    while True:
        line = lines.line_num + 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as err:
            yield Problem(table, line, f"not CSV: {err}")
            continue
        is_hint = line == 1 and delimiter.join(cells).lower() in (f"sep={delimiter}", "sep=\\t")
        if not is_hint and any(map(str.strip, cells)):
            yield line, cells


def header_of(table: Path, lines: Iterator[tuple[int, list[str]] | Problem]) -> tuple[int, list[str]]:
    """Takes the header from the lines of `cells_of`: its line number and the names. Raises `DataError` if it is wrong."""
    first = next(lines, (1, []))
    if isinstance(first, Problem):
        raise DataError(f"{first.text}.", where=f"{table}, line {first.line}")
    line, names = first
    if not is_utf8("".join(names)):
        raise DataError(
            "not UTF-8.", where=f"{table}, line {line}", fix="Save the table as UTF-8 (in Excel: CSV UTF-8)."
        )
    return line, [name.strip() for name in names]


def read_csv(table: Path, columns: Columns, delimiter: str) -> Iterator[Row | Problem]:
    """Yields the rows of a CSV table. Raises `DataError` for a header that is not CSV in UTF-8."""
    lines = cells_of(table, delimiter)
    first_line, header = header_of(table, lines)
    for fault in column_faults(header, columns):
        yield Problem(table, first_line, fault, is_of_columns=True)
    file, split, image_id = (_place(header, name) for name in (columns.file, columns.split, columns.image_id))
    captions = [place for place, name in enumerate(header) if name in columns.captions]
    width = max((place + 1 for place, name in enumerate(header) if name), default=0)  # without empty last columns
    for read in lines:
        if isinstance(read, Problem):
            yield read
            continue
        line, cells = read
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if not is_utf8("".join(cells)):
            yield Problem(table, line, NOT_UTF8)
        elif not width <= len(cells) <= len(header):
            what = f"{len(cells)} columns, not {width} (text with a {delimiter!r} in it needs quotes)"
            yield Problem(table, line, what)
        else:
            texts = [text for place in captions if (text := " ".join(cells[place].split()))]
            for text in texts or ("" if captions else None,):
                yield Row(
                    table,
                    line,
                    None if file is None else cells[file].strip(),
                    text,
                    None if split is None else cells[split].strip() or None,
                    None if image_id is None else cells[image_id].strip() or None,
                )


def _place(header: Sequence[str], name: str) -> int | None:
    return header.index(name) if name in header else None
