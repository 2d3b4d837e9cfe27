"""Reads and checks COCO captions files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ....core.protocols import DataError, ImageId, Sample
from . import CocoConfig, CocoSplit

_SHOWN = 5


class CocoDataset:
    """Samples of COCO captions files, in the order of their `images`.

    White space within a caption (line feeds too) becomes one space; an image without captions is left out. Raises
    `DataError`, naming the file and the first entries at fault, for anything else that does not hold together.
    """

    def __init__(self, config: CocoConfig) -> None:
        given = {"train": config.train, "val": config.val, "test": config.test}
        self._samples = {split: _read_split(part) for split, part in given.items() if part is not None}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def samples(self, split: str) -> Sequence[Sample]:
        return self._samples[split]


def _read_split(part: CocoSplit) -> list[Sample]:
    file = part.captions
    images, annotations = _read_json(file)
    file_names: dict[ImageId, str] = {}
    for image in images:
        if image["id"] in file_names:
            raise DataError(f"image id {image['id']} stands twice in `images`.", where=str(file), fix="Remove one.")
        file_names[image["id"]] = image["file_name"]
    captions: dict[ImageId, list[str]] = {}
    unknown, empty = [], []
    for annotation in annotations:
        text = " ".join(annotation["caption"].split())
        if annotation["image_id"] not in file_names:
            unknown.append(annotation["image_id"])
        elif not text:
            empty.append(annotation.get("id", f"of image {annotation['image_id']}"))
        else:
            captions.setdefault(annotation["image_id"], []).append(text)
    _refuse(unknown, "captions belong to images that are not in `images`; image ids", file)
    _refuse(empty, "captions are empty; annotation ids", file)
    kept = [image_id for image_id in file_names if image_id in captions][: part.limit]
    present = _files_below(part.images, {file_names[image_id] for image_id in kept})
    _refuse(
        [file_names[image_id] for image_id in kept if file_names[image_id] not in present],
        f"images of the captions file are not in {part.images}; files",
        file,
    )
    return [
        Sample(image_id, part.images / file_names[image_id], tuple(captions[image_id]), file_names[image_id])
        for image_id in kept
    ]


def _read_json(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as err:
        raise DataError(f"not JSON: {err.msg}.", where=f"{file}, line {err.lineno}, column {err.colno}") from err
    except UnicodeDecodeError as err:
        raise DataError(f"not UTF-8 at byte {err.start}.", where=str(file), fix="Save it as UTF-8.") from err
    except OSError as err:
        raise DataError(f"cannot be read: {err.strerror}.", where=str(file)) from err
    wanted = {
        "images": {"id": (int, str), "file_name": (str,)},
        "annotations": {"image_id": (int, str), "caption": (str,)},
    }
    for section, keys in wanted.items():
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DataError(
                f"this is not a COCO captions file: it has no list `{section}`.",
                where=str(file),
                fix='COCO captions: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}.',
            )
        for index, entry in enumerate(entries):
            for key, types in keys.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), types):
                    raise DataError(f"`{key}` is missing or of the wrong type.", where=f"{file}, /{section}/{index}")
    return content["images"], content["annotations"]


def _files_below(folder: Path, names: Iterable[str]) -> set[str]:
    """Those of `names` that are files below `folder`; each directory is listed once, which is quick for many files."""
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(os.path.dirname(name), []).append(name)
    present: set[str] = set()
    for below, wanted in by_folder.items():
        try:
            listed = {entry.name for entry in os.scandir(folder / below)}
        except OSError:
            continue
        present.update(name for name in wanted if os.path.basename(name) in listed)
    return present


def _refuse(at_fault: Sequence[object], what: str, file: Path) -> None:
    if at_fault:
        shown = ", ".join(map(str, at_fault[:_SHOWN])) + (", ..." if len(at_fault) > _SHOWN else "")
        raise DataError(
            f"{len(at_fault)} {what} {shown}.", where=str(file), fix="Correct the file, or its image folder."
        )
