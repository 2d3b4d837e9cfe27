"""Proposes the options of a table and an image folder for `capfw init`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....core.protocols import CapfwWarning, Shares
from .checks import Tables, check, faults_of_splits
from .csv_rows import read_csv
from .json_rows import read_jsonl
from .layout import has_split_folders, tables_in
from .recognition import Recognized, recognize_csv, recognize_json, unclear_columns
from .rows import Problem, Row
from .splits import folder_split

Named = Mapping[str, Sequence[str]]


def csv_options(images: Path, captions: Path | None, named: Named) -> dict[str, Any] | None:
    """Returns tables, columns, delimiter and shares of CSV tables; None where the first line does not list column names."""
    tables = _tables(images, captions, (".csv", ".tsv"))
    recognized = recognize_csv(next(iter(tables.values())), named) if tables else None
    if recognized is None:
        return None
    options = _options(
        tables, recognized, images, lambda table: read_csv(table, recognized.columns, recognized.delimiter)
    )
    return options | ({} if recognized.delimiter == "," else {"delimiter": recognized.delimiter})


def json_options(images: Path, captions: Path | None, named: Named) -> dict[str, Any] | None:
    """Returns tables, columns and shares of JSON tables; None where the first value is not a JSON object of one image."""
    tables = _tables(images, captions, (".jsonl",))
    recognized = recognize_json(next(iter(tables.values())), named) if tables else None
    if recognized is None:
        return None
    return _options(tables, recognized, images, lambda table: read_jsonl(table, recognized.columns))


def _tables(images: Path, captions: Path | None, suffixes: Sequence[str]) -> dict[str | None, Path]:
    return tables_in(images, suffixes) if captions is None else {None: captions}


def _options(
    tables: dict[str | None, Path],
    recognized: Recognized,
    images: Path,
    read: Callable[[Path], Iterable[Row | Problem]],
) -> dict[str, Any]:
    """Returns the options that both forms share. Raises `UnclearColumns`; warns of captions in several columns."""
    rows = {split: list(read(table)) for split, table in tables.items()}
    first = next(iter(tables.values()))
    if recognized.unclear:
        raise unclear_columns(first, recognized, faults_of_splits(rows).values())
    captions = [name for name in recognized.header if name in recognized.columns.captions]
    if len(captions) > 1:
        what = f"{first}: the captions of {len(captions)} columns are taken together: {', '.join(captions)}."
        warnings.warn(what, CapfwWarning, stacklevel=2)
    if recognized.unread:
        warnings.warn(
            f"{first}: columns that are not read: {', '.join(recognized.unread)}.", CapfwWarning, stacklevel=2
        )
    options: dict[str, Any] = {split or "captions": table for split, table in tables.items()}
    if recognized.columns.model_fields_set:
        options["columns"] = recognized.columns
    if None in tables and not _is_divided(rows, images):
        options["shares"] = Shares(val=0.1, test=0.1)
    return options


def _is_divided(tables: Tables, images: Path) -> bool:
    """Returns whether the rows name splits, or their files are in the folders of several splits."""
    if any(isinstance(row, Row) and row.split for rows in tables.values() for row in rows):
        return True
    if not has_split_folders(images):
        return False
    good, _, _ = check(tables, images)
    splits = {folder_split(row.file or "") for row in good}
    return len(splits) > 1 and None not in splits
