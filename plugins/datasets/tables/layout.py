"""Finds the tables in a folder of images: one table, or one for each of train, val and test.

This is the layout of Hugging Face's image folders: `metadata.csv` or `metadata.jsonl` beside the images, or one in each of
the folders `train`, `validation` and `test`.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

from ....core.protocols import SPLITS, CapfwWarning, DataError, split_of

_NAME = "metadata"  # Hugging Face's


def tables_in(images: Path, suffixes: Collection[str]) -> dict[str | None, Path]:
    """Returns the tables with one of these suffixes by their splits, or one table under None; empty where there are none.

    Tables that are called `metadata` come first, then tables that are called after a split, then a single table. Raises
    `DataError` where two tables have an equal claim.
    """
    tables = sorted(path for path in images.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    if beside := [path for path in tables if path.stem.lower() == _NAME]:
        return {None: _single(beside, images)}
    folders = sorted(path for path in images.iterdir() if split_of(path.name) and path.is_dir())
    inside = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.stem.lower() == _NAME and path.suffix.lower() in suffixes
    ]
    if inside:
        for folder in folders:
            if not any(path.parent == folder for path in inside):
                what = f"{folder}: there is no {_NAME} table with captions in this folder. Its images are not used."
                warnings.warn(what, CapfwWarning, stacklevel=2)
        return _by_split({path: path.parent.name for path in inside}, images)
    if named := {path: path.stem for path in tables if split_of(path.stem)}:
        return _by_split(named, images)
    return {None: _single(tables, images)} if tables else {}


def has_split_folders(images: Path) -> bool:
    """Returns whether a folder in `images` is called after a split."""
    return any(split_of(path.name) and path.is_dir() for path in images.iterdir())


def _by_split(names: dict[Path, str], images: Path) -> dict[str | None, Path]:
    """Returns the tables by their splits. A training table alone is one table, to be divided."""
    found: dict[str | None, list[Path]] = {
        split: [path for path, name in names.items() if split_of(name) == split] for split in SPLITS
    }
    tables = {split: _single(paths, images) for split, paths in found.items() if paths}
    return {None: tables["train"]} if set(tables) == {"train"} else tables


def _single(tables: list[Path], images: Path) -> Path:
    if len(tables) == 1:
        return tables[0]
    names = ", ".join(path.relative_to(images).as_posix() for path in tables)
    raise DataError(
        f"several tables may hold the captions: {names}.", where=str(images), fix="Name one with --captions."
    )
