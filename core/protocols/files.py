"""Annotation files of data sets: reads JSON, and finds missing images and repeated captions. Messages name the place."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from ..errors import CapfwWarning, DataError
from .shapes import Sample

_NUM_SHOWN = 5


def read_json(file: Path) -> object:
    """The content of a JSON file in UTF-8, with or without a byte order mark.

    Raises `DataError`, naming the file and, where possible, the line, when the file cannot be read or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as err:
        raise DataError(f"not JSON: {err.msg}.", where=f"{file}, line {err.lineno}, column {err.colno}") from err
    except UnicodeDecodeError as err:
        raise DataError(f"not UTF-8 at byte {err.start}.", where=str(file), fix="Save it as UTF-8.") from err
    except OSError as err:
        raise DataError(f"cannot be read: {err.strerror}.", where=str(file)) from err


def missing_files(folder: Path, names: Iterable[str]) -> set[str]:
    """The `names`, relative to `folder`, that do not exist or are folders.

    It lists each directory once: checking 100,000 files one by one takes minutes on a network disk.
    """
    by_parent: dict[str, set[str]] = {}
    for name in names:
        by_parent.setdefault(os.path.dirname(name), set()).add(name)
    missing: set[str] = set()
    for parent, wanted in by_parent.items():
        try:
            present = {entry.name for entry in os.scandir(folder / parent) if not entry.is_dir()}
        except OSError:
            present = set()
        missing.update(name for name in wanted if os.path.basename(name) not in present)
    return missing


def warn_of_repeated_captions(samples: Iterable[Sample], *, where: str) -> None:
    """Warns (`CapfwWarning`) of images that repeat a caption; `where` is the annotation file.

    A data set keeps every copy, as coco-caption and the published results on Flickr8k do: all references count.
    """
    repeated = [sample.image_id for sample in samples if len(set(sample.references)) < len(sample.references)]
    if not repeated:
        return
    count = "1 image has" if len(repeated) == 1 else f"{len(repeated)} images have"
    more = f" and {len(repeated) - _NUM_SHOWN} more" if len(repeated) > _NUM_SHOWN else ""
    warnings.warn(
        f"{where}: {count} a caption more than once: {', '.join(map(str, repeated[:_NUM_SHOWN]))}{more}. "
        "Every copy is kept, for training and as a reference.",
        CapfwWarning,
        stacklevel=3,
    )
