"""Groups the rows of tables by image, checks them and divides the images into splits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from ....core.protocols import (
    SPLITS,
    CapfwWarning,
    DataError,
    FileSource,
    ImageId,
    Sample,
    listed,
    warn_of_repeated_captions,
)
from . import CsvConfig, JsonlConfig, TableConfig
from .checks import Tables, check, image_id_of
from .csv_rows import read_csv
from .json_rows import read_jsonl
from .rows import NOT_UTF8, Problem
from .splits import folder_split

_NUM_SHOWN = 20


class _TableDataset:
    """Samples in the order in which the tables first name their images.

    White space within a caption becomes one space. Raises `DataError` with every wrong column, row and its line: not UTF-8,
    the wrong number of columns, an empty caption, a missing image file, an unknown split, an image in two splits or under
    two ids. With `on_bad_row` "skip" it warns (`CapfwWarning`) and leaves these rows out; a wrong column is still an error.
    Warns of file names that are spelled otherwise and of repeated captions, and keeps both; not with "skip".
    """

    def __init__(self, config: TableConfig, tables: Tables) -> None:
        good, problems, respelled = check(tables, config.images)
        captions: dict[ImageId, list[str]] = {}
        files: dict[ImageId, str] = {}
        splits: dict[ImageId, str | None] = {}
        for row in good:
            image_id = image_id_of(row)
            captions.setdefault(image_id, []).append(row.caption or "")
            files[image_id], splits[image_id] = row.file or "", row.split
        samples = {
            image_id: Sample(image_id, FileSource(config.images / file), tuple(captions[image_id]), file)
            for image_id, file in files.items()
        }
        if config.on_bad_row == "fail":
            where = ", ".join(str(table) for _, table in _tables(config))
            if respelled:
                warnings.warn(f"{where}: {respelled}", CapfwWarning, stacklevel=2)
            warn_of_repeated_captions(samples.values(), where=where)
        _report(problems, config)
        divided = _divide(splits, files, config)
        self._samples = {
            split: [samples[image_id] for image_id in divided[split][: config.limit]]
            for split in SPLITS
            if divided.get(split)
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def samples(self, split: str) -> Sequence[Sample]:
        return self._samples[split]


class CsvDataset(_TableDataset):
    """Samples of CSV tables with the column names in the first line."""

    def __init__(self, config: CsvConfig) -> None:
        read = {split: list(read_csv(file, config.columns, config.delimiter)) for split, file in _tables(config)}
        super().__init__(config, read)


class JsonlDataset(_TableDataset):
    """Samples of files with one JSON object per line, or of one JSON list, each with one caption or several."""

    def __init__(self, config: JsonlConfig) -> None:
        super().__init__(config, {split: list(read_jsonl(file, config.columns)) for split, file in _tables(config)})


def _tables(config: TableConfig) -> list[tuple[str | None, Path]]:
    """Returns each table with its split; None for a table of all splits."""
    every = ((None, config.captions), ("train", config.train), ("val", config.val), ("test", config.test))
    return [(split, file) for split, file in every if file is not None]


def _report(problems: list[Problem], config: TableConfig) -> None:
    """Warns of wrong rows that are left out; raises `DataError` for wrong columns, and for rows that are not left out."""
    if not problems:
        return
    problems.sort(key=lambda problem: (str(problem.table), problem.line))
    tables = list(dict.fromkeys(str(problem.table) for problem in problems))
    where = ", ".join(tables)
    of_columns = [problem for problem in problems if problem.is_of_columns]
    rows = [problem for problem in problems if not problem.is_of_columns]
    counts = [f"{len(rows)} row{'s are' * (len(rows) > 1) or ' is'} wrong"] * bool(rows)
    counts = [f"{len(of_columns)} column{'s are' * (len(of_columns) > 1) or ' is'} wrong"] * bool(of_columns) + counts
    lines = [
        f"{problem.table.name + ', ' if len(tables) > 1 else ''}line {problem.line}: {problem.text}"
        for problem in [*of_columns, *rows]
    ]
    what = f"{', '.join(counts)}.\n  {listed(lines, _NUM_SHOWN, between=chr(10) + '  ')}"
    if config.on_bad_row == "skip" and not of_columns:
        warnings.warn(f"{where}: {what}\n  These rows are left out.", CapfwWarning, stacklevel=3)
        return
    fixes = []
    if any(problem.text == NOT_UTF8 for problem in problems):
        fixes.append("Save the table as UTF-8 (in Excel: CSV UTF-8).")
    if of_columns:
        fixes.append("Name the columns in the first line, or set /data/columns (and /data/delimiter of a CSV table).")
    if rows:
        fixes.append('Correct the rows, or set /data/on_bad_row to "skip" to leave them out.')
    raise DataError(what, where=where, fix=" ".join(fixes))


def _divide(
    splits: dict[ImageId, str | None], files: dict[ImageId, str], config: TableConfig
) -> dict[str, list[ImageId]]:
    """Returns the ids of each split, in the order of the tables."""
    where = str(config.captions or config.train or config.val or config.test)
    if not splits:
        raise DataError("no row is left.", where=where, fix="Add or correct rows.")
    without = sum(split is None for split in splits.values())
    if config.shares and without < len(splits):
        raise DataError(
            "its rows name splits, and the spec divides the images too.",
            where=where,
            fix="Remove /data/shares, or the splits of the table.",
        )
    if config.shares:
        return config.shares.divide(list(splits), where=where)
    if without == len(splits):  # then the folders train, val and test count
        splits = {image_id: folder_split(files[image_id]) for image_id in splits}
        without = sum(split is None for split in splits.values())
    if without:
        raise DataError(
            f"{without} of {len(splits)} images are in no split.",
            where=where,
            fix='Give every row a "split" (train, val or test), or set /data/shares to {"val": 0.1, "test": 0.1}.',
        )
    return {split: [image_id for image_id, its in splits.items() if its == split] for split in SPLITS}
