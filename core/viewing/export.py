"""Writes the page, its data and its pictures into a folder that works from file:// and on any web host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..errors import RequestError
from .collection import Collection
from .columns import SHARD, extra_of, has_extra, meta_of, num_shards, rows_of
from .heat import HeatOf, heat_of, numbers_of
from .page import data_script, page_html
from .pictures import GRID_SIDE, picture_of


def export(
    collection: Collection,
    folder: Path,
    *,
    picture_side: int = GRID_SIDE,
    heat: HeatOf | None = None,
    heat_ids: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes the page into `folder`, which must not exist or be empty, and returns its index.html.

    Photos are copied with a longest side of `picture_side` pixels; 0 leaves them out. `heat` computes
    the heat maps of the images `heat_ids` (["all"]: of every image). The folder is whole or absent.
    Raises `RequestError`.
    """
    folder = folder.absolute()  # "." has no name of its own
    require_new(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        numbers = numbers_of(collection, heat_ids) if heat and heat_ids else []
        _write(collection, aside, picture_side, numbers, progress)
        if heat:
            _write_heat(collection, aside, numbers, heat, progress)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    except OSError as err:
        what = f"the page cannot be written: {err.strerror or err}."
        raise RequestError(what, where=str(folder), fix="Name a folder where you can write: --output DIR.") from err
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder / "index.html"


def require_new(folder: Path) -> None:
    """Raises `RequestError` where an export would overwrite something."""
    if folder.is_file():
        raise RequestError("this is a file.", where=str(folder), fix="Name a folder: --output DIR.")
    if folder.is_dir() and any(folder.iterdir()):
        raise RequestError("this folder is not empty.", where=str(folder), fix="Name another, or delete it.")


def _write(
    collection: Collection, folder: Path, side: int, heated: Sequence[int], progress: Callable[[int, int], None]
) -> None:
    (folder / "data").mkdir(parents=True)
    still = replace(collection, systems=[replace(system, is_live=False) for system in collection.systems])
    found = _write_pictures(collection, folder / "pictures", side, progress) if side else 0
    meta = meta_of(still, picture="pictures/{shard}/{index}.webp" if found else None, heat=heated)
    _put(folder, "meta", meta)
    for shard in range(num_shards(collection)):
        _put(folder, f"rows-{shard}", rows_of(collection, shard))
        if has_extra(collection):
            _put(folder, f"extra-{shard}", extra_of(collection, shard))
    (folder / "index.html").write_text(page_html(), encoding="utf-8")


def _put(folder: Path, name: str, value: object) -> None:
    (folder / "data" / f"{name}.js").write_bytes(data_script(name, value))


def _write_heat(
    collection: Collection, folder: Path, numbers: Sequence[int], heat: HeatOf, progress: Callable[[int, int], None]
) -> None:
    for done, index in enumerate(numbers, 1):
        for system in range(len(collection.systems)):
            found = heat_of(collection, index, system, heat)
            if found is not None:
                _put(folder, f"heat-{index}-{system}", found)
        progress(done, len(numbers))


def _write_pictures(collection: Collection, folder: Path, side: int, progress: Callable[[int, int], None]) -> int:
    """Writes the pictures, in folders of `SHARD`; returns their number."""
    for shard in range(num_shards(collection)):
        (folder / str(shard)).mkdir(parents=True)

    def write(index: int) -> bool:
        content = picture_of(collection.images[index].source, side)
        if content is not None:
            (folder / str(index // SHARD) / f"{index}.webp").write_bytes(content)
        return content is not None

    total, found = len(collection.images), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and encodes without the GIL
        for done, is_written in enumerate(pool.map(write, range(total)), 1):
            found += is_written
            progress(done, total)
    return found
