"""Rows of a table, one per caption, and its problems, one per wrong line or column; each has its line number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....core.protocols import ImageId, listed, suggestion
from . import Columns

NOT_UTF8 = "not UTF-8"
_NUM_NAMES = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One caption of an image.

    `file` or `caption` is None where the table lacks the column; `split` and `image_id` also where the cell is empty.
    """

    table: Path
    line: int
    file: str | None
    caption: str | None
    split: str | None
    image_id: ImageId | None


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of a table and its fault. A fault of the columns cannot be skipped."""

    table: Path
    line: int
    text: str
    is_of_columns: bool = False


def column_faults(header: Sequence[str], columns: Columns, *, stands_in: Mapping[str, str] | None = None) -> list[str]:
    """Returns every fault of the columns in a header: one that is missing, and two of one name.

    `stands_in` maps a column to another one that may take its place.
    """
    usual = Columns()  # a table need not have columns "split" and "image_id", but any other name was chosen
    wanted = [columns.file, *columns.captions]
    wanted += [columns.split] * (columns.split != usual.split) + [columns.image_id] * (
        columns.image_id != usual.image_id
    )
    names = [name for name in header if name]
    known = f"the columns are {listed(names, _NUM_NAMES)}" if names else "there are no columns"
    faults = [
        f'no column "{name}"; {known}. {suggestion(name, names)}'.rstrip(". ")
        for name in dict.fromkeys(wanted)
        if name not in header and (stands_in or {}).get(name) not in header
    ]
    single = dict.fromkeys((columns.file, columns.split, columns.image_id))
    return faults + [f'{header.count(name)} columns are called "{name}"' for name in single if header.count(name) > 1]
