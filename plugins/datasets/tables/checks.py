"""Checks the rows of tables against the image folder and one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ....core.protocols import ImageId, listed, split_of
from .file_names import Found, NameInTable, find_files, folder_beside
from .rows import Problem, Row
from .splits import fault_of_split

Tables = Mapping[str | None, Sequence[Row | Problem]]  # by the split of the table; None for a table of all splits
_NUM_EXAMPLES = 3


def check(tables: Tables, images: Path) -> tuple[list[Row], list[Problem], str]:
    """Returns the right rows, the problems of the others, and a notice of file names that are spelled otherwise, or "".

    The right rows have their splits (train, val, test or None), and their files as they are spelled in `images`. All rows
    of an image must agree with its first row.
    """
    read = list(_named(tables, images))
    problems = [row for rows in tables.values() for row in rows if isinstance(row, Problem)]
    found = find_files(images, (name for _, _, name in read if name.file))
    of_splits = faults_of_splits(tables)
    earlier = _Earlier()
    good: list[Row] = []
    for split, row, name in read:
        file = found.files.get(name)
        placed = replace(row, file=file, split=(split_of(row.split) if row.split else None) or split)
        text = (
            found.faults.get(name, "")
            or ("no file name" if row.file == "" else "")
            or ("empty caption" if row.caption == "" else "")
            or of_splits.get(row.split or "", "")
            or (f'split "{row.split}" is not {split}' if split and placed.split != split else "")
            or (earlier.contradiction(placed, file) if file is not None else "")
        )
        if text:
            problems.append(Problem(row.table, row.line, text))
        elif file is not None and row.caption is not None:
            good.append(placed)
    return good, problems, _notice(found, images)


def faults_of_splits(tables: Tables) -> dict[str, str]:
    """Returns the fault of each split's name in the rows that has one."""
    rows = (row for rows in tables.values() for row in rows if isinstance(row, Row))
    names = dict.fromkeys(row.split for row in rows if row.split)
    return {name: fault for name in names if (fault := fault_of_split(name, names))}


def image_id_of(row: Row) -> ImageId:
    """Returns the id of a right row's image: without one of its own, the file as it is spelled in the folder."""
    if row.image_id is not None:
        return row.image_id
    assert row.file is not None, "a right row has a file"
    return row.file


def _named(tables: Tables, images: Path) -> Iterator[tuple[str | None, Row, NameInTable]]:
    """Yields each row with the split of its table and the name that it gives its file."""
    besides: dict[Path, str] = {}
    for split, rows in tables.items():
        for row in rows:
            if isinstance(row, Row):
                if row.table not in besides:
                    besides[row.table] = folder_beside(row.table, images)
                its_split = split_of(row.split) if row.split else split
                yield split, row, NameInTable(row.file or "", besides[row.table], its_split)


class _Earlier:
    """The id, file and split of every image so far."""

    def __init__(self) -> None:
        self._ids: dict[str, ImageId] = {}
        self._files: dict[ImageId, str] = {}
        self._splits: dict[ImageId, str | None] = {}

    def contradiction(self, row: Row, file: str) -> str:
        """Returns how the row contradicts an earlier one on its image, or an empty text."""
        image_id, split = image_id_of(row), row.split
        if (known := self._ids.setdefault(file, image_id)) != image_id:
            return f"{file} has image id {known} in an earlier row, {image_id} here"
        if (named := self._files.setdefault(image_id, file)) != file:
            return f"image id {image_id} belongs to {named} in an earlier row, to {file} here"
        if (its := self._splits.setdefault(image_id, split)) != split:
            return f"{file} is in {its or 'no split'} in an earlier row, in {split or 'none'} here"
        return ""


def _notice(found: Found, images: Path) -> str:
    count = len({name.file for name in found.respelled})
    if not count:
        return ""
    examples = dict.fromkeys(f'"{name.file}" is {found.files[name]}' for name in found.respelled)
    what = "1 file name is" if count == 1 else f"{count} file names are"
    return f"{what} not spelled as in {images}: {listed(list(examples), _NUM_EXAMPLES)}."
