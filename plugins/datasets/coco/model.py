"""Reads and checks COCO captions files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....core.protocols import (
    CapfwWarning,
    DataError,
    FileSource,
    ImageId,
    Sample,
    Shares,
    listed,
    missing_files,
    read_json,
    warn_of_repeated_captions,
)
from . import CocoConfig, CocoSplit

_FORM = 'COCO captions: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}.'
_NUM_SHOWN = 5


class CocoDataset:
    """Samples of COCO captions files (2014, 2017 or your own), in the order of their `images`.

    White space within a caption, line feeds included, becomes one space. Warns (`CapfwWarning`) of repeated captions,
    which are kept, and of images without captions, which are left out. Raises `DataError`, with the file and the first
    entries at fault, for any other inconsistency and for missing image files.
    """

    def __init__(self, config: CocoConfig) -> None:
        given = {"train": config.train, "val": config.val, "test": config.test}
        self._samples = {split: _read_split(part) for split, part in given.items() if part is not None}
        if config.all and config.shares:
            self._samples = _divide(_read_split(config.all), config.shares, str(config.all.captions))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def samples(self, split: str) -> Sequence[Sample]:
        return self._samples[split]


def _divide(samples: Sequence[Sample], shares: Shares, where: str) -> dict[str, list[Sample]]:
    by_id = {sample.image_id: sample for sample in samples}
    divided = shares.divide(list(by_id), where=where)
    return {split: [by_id[image_id] for image_id in ids] for split, ids in divided.items() if ids}


def _read_split(part: CocoSplit) -> list[Sample]:
    file = part.captions
    content = read_json(file)
    file_names = _file_names(_entries(content, "images", {"id": (int, str), "file_name": (str,)}, file), file)
    annotations = _entries(content, "annotations", {"image_id": (int, str), "caption": (str,)}, file)
    captions = _captions(annotations, file_names, file)
    captioned = [image_id for image_id in file_names if image_id in captions]
    if not captioned:
        raise DataError("no image has a caption.", where=str(file), fix=_FORM)
    if num_bare := len(file_names) - len(captioned):
        message = f"{file}: {num_bare} of {len(file_names)} images have no caption and are left out."
        warnings.warn(message, CapfwWarning, stacklevel=2)
    kept = captioned[: part.limit]
    missing = missing_files(part.images, (file_names[image_id] for image_id in kept))
    _refuse(
        [file_names[image_id] for image_id in kept if file_names[image_id] in missing],
        f"image files are not in {part.images}",
        file,
        'Correct "images", the folder to which every `file_name` is relative, or put the files there.',
    )
    samples = [
        Sample(
            image_id, FileSource(part.images / file_names[image_id]), tuple(captions[image_id]), file_names[image_id]
        )
        for image_id in kept
    ]
    warn_of_repeated_captions(samples, where=str(file))
    return samples


def _entries(content: object, section: str, keys: dict[str, tuple[type, ...]], file: Path) -> list[dict[str, Any]]:
    entries = content.get(section) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"not a COCO captions file: it has no list `{section}`.", where=str(file), fix=_FORM)
    for index, entry in enumerate(entries):
        for key, types in keys.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(key), types):
                wanted = " or ".join({int: "a number", str: "a string"}[one] for one in types)
                raise DataError(f"`{key}` must be {wanted}.", where=f"{file}, /{section}/{index}", fix=_FORM)
    return entries


def _file_names(images: list[dict[str, Any]], file: Path) -> dict[ImageId, str]:
    file_names: dict[ImageId, str] = {}
    repeated = []
    for image in images:
        if image["id"] in file_names:
            repeated.append(image["id"])
        file_names[image["id"]] = image["file_name"]
    _refuse(repeated, "image ids are in `images` more than once", file, "Give every image one entry.")
    return file_names


def _captions(
    annotations: list[dict[str, Any]], file_names: dict[ImageId, str], file: Path
) -> dict[ImageId, list[str]]:
    captions: dict[ImageId, list[str]] = {}
    unknown, empty = [], []
    for index, annotation in enumerate(annotations):
        text = " ".join(annotation["caption"].split())
        if annotation["image_id"] not in file_names:
            unknown.append(annotation["image_id"])
        elif not text:
            empty.append(f"/annotations/{index}")
        else:
            captions.setdefault(annotation["image_id"], []).append(text)
    fix = "Add the images, or remove the captions."
    _refuse(unknown, "captions have image ids that are not in `images`", file, fix)
    _refuse(empty, "captions are empty", file, "Write them, or remove their entries.")
    return captions


def _refuse(at_fault: Sequence[object], what: str, file: Path, fix: str) -> None:
    if at_fault:
        raise DataError(f"{what} ({len(at_fault)}): {listed(at_fault, _NUM_SHOWN)}.", where=str(file), fix=fix)
