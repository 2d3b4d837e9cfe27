"""Groups the rows of tables by image, checks them and divides the images into splits."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ....core.protocols import (
    CapfwWarning,
    DataError,
    FileSource,
    ImageId,
    Sample,
    listed,
    missing_files,
    warn_of_repeated_captions,
)
from . import CsvConfig, JsonlConfig, TableConfig
from .rows import NOT_UTF8, Problem, Row, read_csv, read_jsonl

_SPLITS = ("train", "val", "test")
_NUM_SHOWN = 20


class _TableDataset:
    """Samples in the order in which the tables first name their images.

    White space within a caption becomes one space. Raises `DataError` with every wrong row and its line: not UTF-8, the
    wrong number of columns, an empty caption, a missing image file, an image in two splits or under two ids. With
    `on_bad_row` "skip" it warns (`CapfwWarning`) and leaves these rows out. Warns of repeated captions and keeps them.
    """

    def __init__(self, config: TableConfig, tables: dict[str | None, list[Row | Problem]]) -> None:
        rows = [(split, row) for split, read in tables.items() for row in read if isinstance(row, Row)]
        unread = [problem for read in tables.values() for problem in read if isinstance(problem, Problem)]
        good, refused = _check(rows, missing_files(config.images, {row.file for _, row in rows}), config.images)
        _report([*unread, *refused], config)
        captions: dict[ImageId, list[str]] = {}
        file_names: dict[ImageId, str] = {}
        splits: dict[ImageId, str | None] = {}
        for row in good:
            image_id = _image_id(row)
            captions.setdefault(image_id, []).append(row.caption)
            file_names[image_id], splits[image_id] = row.file, row.split
        divided = _divide(splits, config)
        self._samples = {
            split: [
                Sample(
                    image_id,
                    FileSource(config.images / file_names[image_id]),
                    tuple(captions[image_id]),
                    file_names[image_id],
                )
                for image_id in divided[split][: config.limit]
            ]
            for split in _SPLITS
            if divided.get(split)
        }
        every = (sample for samples in self._samples.values() for sample in samples)
        warn_of_repeated_captions(every, where=", ".join(str(table) for _, table in _tables(config)))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def samples(self, split: str) -> Sequence[Sample]:
        return self._samples[split]


class CsvDataset(_TableDataset):
    """Samples of CSV tables with one row per caption and the column names in the first line."""

    def __init__(self, config: CsvConfig) -> None:
        read = {split: list(read_csv(file, config.columns, config.delimiter)) for split, file in _tables(config)}
        super().__init__(config, read)


class JsonlDataset(_TableDataset):
    """Samples of files with one JSON object per line, each with one caption or several."""

    def __init__(self, config: JsonlConfig) -> None:
        super().__init__(config, {split: list(read_jsonl(file, config.columns)) for split, file in _tables(config)})


def _tables(config: TableConfig) -> list[tuple[str | None, Path]]:
    """Returns each table with its split; None for a table of all splits."""
    every = ((None, config.captions), ("train", config.train), ("val", config.val), ("test", config.test))
    return [(split, file) for split, file in every if file is not None]


def _image_id(row: Row) -> ImageId:
    return row.file if row.image_id is None else row.image_id


def _check(rows: Iterable[tuple[str | None, Row]], missing: set[str], images: Path) -> tuple[list[Row], list[Problem]]:
    """Returns the right rows with their splits, and the problems of the others.

    Each row comes with the split of its table. All rows of an image must agree with its first row.
    """
    good: list[Row] = []
    problems: list[Problem] = []
    ids: dict[str, ImageId] = {}
    files: dict[ImageId, str] = {}
    splits: dict[ImageId, str | None] = {}
    for split, row in rows:
        image_id, its_split = _image_id(row), row.split or split
        if not row.file:
            text = "no file name"
        elif row.file in missing:
            text = f"no file {row.file} in {images}"
        elif not row.caption:
            text = "empty caption"
        elif its_split not in ((split,) if split else (*_SPLITS, None)):
            text = f'split "{its_split}" is not {split or "train, val or test"}'
        elif ids.setdefault(row.file, image_id) != image_id:
            text = f"{row.file} has image id {ids[row.file]} in an earlier row, {image_id} here"
        elif files.setdefault(image_id, row.file) != row.file:
            text = f"image id {image_id} belongs to {files[image_id]} in an earlier row, to {row.file} here"
        elif splits.setdefault(image_id, its_split) != its_split:
            text = f"{row.file} is in {splits[image_id] or 'no split'} in an earlier row, in {its_split or 'none'} here"
        else:
            good.append(replace(row, split=its_split))
            continue
        problems.append(Problem(row.table, row.line, text))
    return good, problems


def _report(problems: list[Problem], config: TableConfig) -> None:
    if not problems:
        return
    problems.sort(key=lambda problem: (str(problem.table), problem.line))
    tables = list(dict.fromkeys(str(problem.table) for problem in problems))
    lines = [
        f"{problem.table.name + ', ' if len(tables) > 1 else ''}line {problem.line}: {problem.text}"
        for problem in problems
    ]
    shown = listed(lines, _NUM_SHOWN, between="\n  ")
    what = f"{len(problems)} row{'s are' if len(problems) > 1 else ' is'} wrong.\n  {shown}"
    where = ", ".join(tables)
    if config.on_bad_row == "skip":
        warnings.warn(f"{where}: {what}\n  These rows are left out.", CapfwWarning, stacklevel=2)
    else:
        is_encoded_otherwise = any(problem.text == NOT_UTF8 for problem in problems)
        raise DataError(
            what,
            where=where,
            fix="Save the table as UTF-8. " * is_encoded_otherwise
            + 'Correct the rows, or set /data/on_bad_row to "skip" to leave them out.',
        )


def _divide(splits: dict[ImageId, str | None], config: TableConfig) -> dict[str, list[ImageId]]:
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
    if without:
        raise DataError(
            f"{without} of {len(splits)} images are in no split.",
            where=where,
            fix='Give every row a "split" (train, val or test), or set /data/shares to {"val": 0.1, "test": 0.1}.',
        )
    return {split: [image_id for image_id, its in splits.items() if its == split] for split in _SPLITS}
