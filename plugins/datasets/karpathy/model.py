"""Reads and checks Karpathy's JSON files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ....core.protocols import (
    SPLITS,
    DataError,
    FileSource,
    ImageId,
    Sample,
    listed,
    missing_files,
    read_json,
    warn_of_repeated_captions,
)
from . import KarpathyConfig

_FIX = 'The format is {"images": [{"filename", "imgid" or "cocoid", "split", "sentences": [{"raw"}]}]}.'
_NUM_SHOWN = 20


@dataclass(frozen=True)
class Entry:
    """The entry of one image in the file; `split` may be "restval"."""

    image_id: ImageId
    filename: str
    filepath: str
    split: str
    captions: tuple[str, ...]


class KarpathyDataset:
    """Samples in the order of the file; their ids are COCO's (`cocoid`) where every entry has one, else `imgid`.

    Captions are the raw sentences, with each run of white space as one space. Raises `DataError` for a file in another
    format, with every entry at fault, and for missing images. Warns (`CapfwWarning`) of repeated captions and keeps them.
    """

    def __init__(self, config: KarpathyConfig) -> None:
        entries = read_entries(config.captions)
        splits = {"restval": "train" if config.restval == "train" else None, **{split: split for split in SPLITS}}
        by_split = {
            split: [entry for entry in entries if splits[entry.split] == split][: config.limit] for split in SPLITS
        }
        _require_files([entry for chosen in by_split.values() for entry in chosen], config)
        self._samples = {
            split: [
                Sample(entry.image_id, FileSource(config.images / name), entry.captions, name)
                for entry in chosen
                for name in [_place(entry, config.subfolders)]
            ]
            for split, chosen in by_split.items()
            if chosen
        }
        every = (sample for samples in self._samples.values() for sample in samples)
        warn_of_repeated_captions(every, where=str(config.captions))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def samples(self, split: str) -> Sequence[Sample]:
        return self._samples[split]


def read_entries(file: Path) -> list[Entry]:
    """Returns the entry of every image. Raises `DataError` with each that is at fault."""
    content = read_json(file)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise DataError("not in Karpathy's format: it has no images.", where=str(file), fix=_FIX)
    id_key = "cocoid" if all(isinstance(image, dict) and "cocoid" in image for image in images) else "imgid"
    wrong = [
        f"/images/{index}: {problem}" for index, image in enumerate(images) if (problem := _problem(image, id_key))
    ]
    if wrong:
        raise _listed(f"entries are not in Karpathy's format ({len(wrong)})", wrong, file, _FIX)
    entries = [
        Entry(
            image[id_key],
            image["filename"],
            image.get("filepath", ""),
            image["split"],
            tuple(" ".join(sentence["raw"].split()) for sentence in image["sentences"]),
        )
        for image in images
    ]
    repeated = [image_id for image_id, count in Counter(entry.image_id for entry in entries).items() if count > 1]
    if repeated:
        raise _listed(
            f"images are in the file more than once, by {id_key} ({len(repeated)})",
            [str(each) for each in repeated],
            file,
            "Give every image one entry.",
        )
    return entries


def _problem(image: Any, id_key: str) -> str:
    """Returns the fault of an entry, or an empty text."""
    if not isinstance(image, dict):
        return "not an object"
    if not isinstance(image.get(id_key), int | str):
        return f"`{id_key}` must be a number or a string"
    if not isinstance(image.get("filename"), str) or not isinstance(image.get("filepath", ""), str):
        return "`filename` and `filepath` must be strings"
    if image.get("split") not in (*SPLITS, "restval"):
        return f"split {image.get('split')!r} is not train, restval, val or test"
    sentences = image.get("sentences")
    if not isinstance(sentences, list) or not sentences:
        return "no sentences"
    raw = [sentence.get("raw") if isinstance(sentence, dict) else None for sentence in sentences]
    if not all(isinstance(each, str) and each.strip() for each in raw):
        return "a sentence without text (`raw`)"
    return ""


def _place(entry: Entry, subfolders: Literal["filepath", "split"]) -> str:
    folder = entry.split if subfolders == "split" else entry.filepath
    return f"{folder}/{entry.filename}" if folder else entry.filename


def _require_files(entries: Sequence[Entry], config: KarpathyConfig) -> None:
    names = [_place(entry, config.subfolders) for entry in entries]
    missing = missing_files(config.images, names)
    if not missing:
        return
    other: Literal["filepath", "split"] = "split" if config.subfolders == "filepath" else "filepath"
    is_other = not missing_files(config.images, [_place(entry, other) for entry in entries])
    raise _listed(
        f"image files are not in {config.images} ({len(missing)})",
        [name for name in names if name in missing],
        config.captions,
        f'Set /data/subfolders to "{other}": all files are there.' if is_other else "Correct /data/images.",
    )


def _listed(what: str, at_fault: Sequence[str], file: Path, fix: str) -> DataError:
    lines = listed(at_fault, _NUM_SHOWN, between="\n  ")
    return DataError(f"{what}:\n  {lines}", where=str(file), fix=fix)
