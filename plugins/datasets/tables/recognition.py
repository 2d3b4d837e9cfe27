"""Recognises a table: its delimiter and its columns. It needs no images, and reads any encoding that `text_of` reads."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....core.protocols import ColumnQuestion, DataError, UnclearColumns, listed, suggestion
from . import Columns
from .csv_rows import cells_of, header_of
from .json_rows import SEVERAL, entries_of, keys_of
from .rows import Problem
from .text import text_of

ROLES = {"file": "file names", "caption": "captions", "split": "splits", "image_id": "image ids"}
_DELIMITERS = (",", "\t", ";", "|")
_USUAL_NAMES = {
    "file": (
        *("file", "file_name", "filename", "image", "image_name", "image_file"),
        *("image_file_name", "image_filename", "image_path", "img", "img_name", "img_path", "photo", "photo_name"),
        *(
            "photo_file",
            "picture",
            "path",
            "file_path",
            "filepath",
            "image_id",
            "img_id",
        ),  # an id only where no other column names files
    ),
    "caption": (
        *("caption", "captions", "text", "texts", "description", "descriptions", "sentence", "sentences"),
        *("comment", "comments", "alt_text"),
    ),
    "split": ("split",),
    "image_id": ("image_id",),
}
_NUMBERED = re.compile(r"(.+?)[_.]?\d+")
_FILE_NAME = re.compile(r".+\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)(#\d+)?", re.IGNORECASE)
_NUM_EXAMPLES = 20
_NUM_NAMED = 12


@dataclass(frozen=True)
class Recognized:
    """The columns of a table, or its keys, in order. `unclear` are those of "file" and "caption" that no usual name reveals.
    `unread` are the columns without a role.

    `columns` has the usual names that the table has, and the names that were given. `examples` has a value of each column.
    """

    header: tuple[str, ...]
    columns: Columns
    unclear: tuple[str, ...]
    unread: tuple[str, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","


def recognize_csv(table: Path, named: Mapping[str, Sequence[str]] | None = None) -> Recognized | None:
    """Recognises a CSV table; None when the first line does not list column names.

    `named` maps "file", "caption", "split" or "image_id" to the user's own columns. Raises `DataError` for a workbook, for
    a header that is not UTF-8 or holds a row, and for a name that no column has.
    """
    delimiter = _delimiter_of(table, named or {})
    if delimiter is None:
        return None
    lines = cells_of(table, delimiter)
    _, names = header_of(table, lines)
    if any(_FILE_NAME.fullmatch(name) for name in names):
        what = f"the first line must name the columns, and it holds a row: {delimiter.join(names)[:60]}"
        raise DataError(f"{what}.", where=f"{table}, line 1", fix=f"Insert a first line: file{delimiter}caption.")
    rows = [each[1] for each, _ in zip(lines, range(_NUM_EXAMPLES), strict=False) if not isinstance(each, Problem)]
    examples = {
        name: next((row[place] for row in rows if row[place : place + 1] and row[place].strip()), "")
        for place, name in reversed(list(enumerate(names)))
    }
    return _recognized(table, names, named or {}, examples, delimiter)


def recognize_json(table: Path, named: Mapping[str, Sequence[str]] | None = None) -> Recognized | None:
    """Recognises JSON lines or a list of objects; None for another file. For the rest see `recognize_csv`."""
    if not text_of(table).lstrip().startswith(("{", "[")):
        return None
    rest = entries_of(table)
    first = next(rest, None)
    if first is None or isinstance(first, Problem) or not isinstance(first[1], dict):
        return None
    if not first[1] or "images" in first[1]:
        return None
    entries = [first, *rest]
    examples: dict[str, str] = {}
    for each in entries[:_NUM_EXAMPLES]:
        if not isinstance(each, Problem) and isinstance(each[1], dict):
            examples = {key: str(value) for key, value in each[1].items() if value} | examples
    return _recognized(table, keys_of(entries), named or {}, examples, ",", list_key=SEVERAL)


def unclear_columns(table: Path, recognized: Recognized, faults: Iterable[str] = ()) -> UnclearColumns:
    """Returns the error of a table whose unclear columns only the user knows, with other faults of the table."""
    columns = {name: recognized.examples.get(name, "") for name in recognized.header}
    lines = [f"no column is called as {ROLES[role]} usually are" for role in recognized.unclear]
    lines += faults
    flags = " ".join(f"--column {role}=NAME" for role in recognized.unclear)
    fix = f"The columns are {listed(list(columns), _NUM_NAMED)}.\nName yours: {flags}"
    fix += " (once for each column of captions)." if "caption" in recognized.unclear else "."
    return UnclearColumns(
        "; ".join(lines) + ".",
        where=str(table),
        fix=fix,
        columns=columns,
        questions=[ColumnQuestion(role, ROLES[role], takes_several=role == "caption") for role in recognized.unclear],
    )


def _delimiter_of(table: Path, named: Mapping[str, Sequence[str]]) -> str | None:
    """Returns the delimiter that finds most columns of known names, else the most frequent one; None where there is none."""
    lines = [line for line in text_of(table)[:100_000].lstrip().splitlines() if line.strip(' ",;|\t')]
    if not lines or lines[0].startswith(("{", "[")):
        return None
    if hint := re.fullmatch(r'"?sep=(.)"?', lines[0].strip(" "), re.IGNORECASE):
        return hint[1]
    wanted = {name for names in (*_USUAL_NAMES.values(), *named.values()) for name in map(_plain, names)}
    scores: dict[str, tuple[int, int]] = {}
    for delimiter in _DELIMITERS:
        try:
            names = [name.strip() for name in next(csv.reader([lines[0]], delimiter=delimiter))]
        except csv.Error:
            continue
        if len(names) > 1:
            scores[delimiter] = (len(wanted & {_plain(name) for name in names}), len(names))
    return max(scores, key=scores.__getitem__) if scores else None


def _recognized(
    table: Path,
    header: Sequence[str],
    named: Mapping[str, Sequence[str]],
    examples: Mapping[str, str],
    delimiter: str,
    list_key: str | None = None,
) -> Recognized:
    """Returns the columns that `named` and the usual names find. A list of captions under `list_key` needs no name."""
    names = [name for name in header if name]
    _require(table, names, named)
    found: dict[str, tuple[str, ...]] = {role: tuple(each) for role, each in named.items()}
    found.setdefault("caption", () if list_key in names else _captions(names))
    for role in ("split", "image_id", "file"):
        if role not in found:
            taken = {name for each in (*named.values(), found["caption"]) for name in each}
            usual = _first(_USUAL_NAMES[role], [name for name in names if name not in taken])
            found[role] = (usual,) if usual else ()
    unclear = [
        role for role in ("file", "caption") if not found[role] and not (role == "caption" and list_key in names)
    ]
    options: dict[str, str | tuple[str, ...]] = {
        role: each[0] if len(each) == 1 else each
        for role in ROLES
        if (each := found[role]) and (each != (role,) or role in named)
    }
    columns = Columns.model_validate(options)
    read = {columns.file, *columns.captions, columns.split, columns.image_id, list_key}
    unread = tuple(name for name in names if name not in read)
    return Recognized(tuple(names), columns, tuple(unclear), unread, examples, delimiter)


def _require(table: Path, names: Sequence[str], named: Mapping[str, Sequence[str]]) -> None:
    """Raises `DataError` with every fault of the user's own names."""
    faults = [
        f'no column "{name}" for the {ROLES[role]}. {suggestion(name, names)}'.rstrip()
        for role, each in named.items()
        if role in ROLES
        for name in each
        if name not in names
    ]
    faults += [f'"{role}" is no role of a column' for role in named if role not in ROLES]
    faults += [f"one column holds the {ROLES[role]}" for role in named if role != "caption" and len(named[role]) > 1]
    if faults:
        fix = f"The columns are {', '.join(names)}. The roles are {', '.join(ROLES)}: --column ROLE=NAME."
        raise DataError("; ".join(faults), where=f"{table}, line 1", fix=fix)


def _captions(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of captions: the one of a usual name, with all that have it and a number (caption1, Caption 2)."""
    numbered: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        match = _NUMBERED.fullmatch(_plain(name))
        base = match[1] if match else _plain(name)
        numbered.setdefault(base, []).append(name)
    usual = next((base for base in _USUAL_NAMES["caption"] if base in numbered), None)
    return tuple(numbered[usual]) if usual else ()


def _first(usual: Sequence[str], names: Sequence[str]) -> str | None:
    """Returns the column with the first of the usual names that the table has."""
    by_plain = {_plain(name): name for name in reversed(names)}
    return next((by_plain[name] for name in usual if name in by_plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
