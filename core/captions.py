"""Reads captions from files, and finds the images that two files share: candidates of any system, and references.

capfw reads COCO's results, COCO's captions, the CSV and JSON lines of `capfw caption`, and a JSON object of captions by
file name. Every other format belongs to a data set, such as `csv`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import CapfwError, DataError, UnclearColumns, choices, listed
from .protocols import CaptionEntry, DatasetConfig, ImageId, narrowed, split_of
from .registry import Registry

NUM_SHOWN = 5
_NUM_NAMED = 12
_HEADER = b"file,caption,log_prob,error\n"  # of the CSV of `capfw caption`
_ENDING = re.compile(r"\.[a-z][a-z0-9]{1,4}$")
_RESULTS = "a COCO results file, a list of {image_id, caption}"
_CAPTIONS = 'a COCO captions file, with a list "annotations"'


@dataclass(frozen=True)
class CaptionFile:
    """The captions of a file. `images` maps each image id to its entry, in the order of the file; `sha256` is the file's."""

    path: Path
    images: Mapping[ImageId, CaptionEntry]
    sha256: str

    def best(self) -> dict[ImageId, str]:
        """The first caption of each image."""
        return {image_id: entry.captions[0] for image_id, entry in self.images.items()}

    def every(self) -> dict[ImageId, tuple[str, ...]]:
        """All captions of each image, as references: without the images whose captions are all empty."""
        return {image_id: entry.captions for image_id, entry in self.images.items() if any(entry.captions)}

    def texts(self) -> tuple[str, ...]:
        """The captions of all images, one after the other."""
        return tuple(caption for entry in self.images.values() for caption in entry.captions)

    def training(self) -> CaptionFile:
        """The images of the split train; all of them where the file names no splits."""
        if not any(entry.split for entry in self.images.values()):
            return self
        return replace(self, images=_of_split(self.images, "train", self.path))


def read_captions(
    file: Path,
    registry: Registry,
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
    split: str | None = None,
    flag: str = "--column",
) -> CaptionFile:
    """Reads a file in any format that capfw or a data set reads. Images without a caption are left out.

    `columns` names the columns of a table by their roles, as in `capfw init --column`; `flag` is the option that gives
    them. `split` keeps the images of one split of the file, under any usual name (val, validation, dev, ...).

    Raises `DataError`, naming the file and the first entries at fault.
    """
    try:
        data = file.read_bytes()
    except OSError as err:
        raise DataError(f"cannot read the file: {err.strerror or err}.", where=str(file)) from err
    found = None if columns else _own(data, file)
    if found is None:
        found = _of_data_sets(file, registry, columns or {}, flag)
    images = {entry.image_id: entry for entry in found if entry.captions}
    if split is not None:
        images = _of_split(images, split, file)
    if not images:
        raise DataError("no image of this file has a caption.", where=str(file))
    return CaptionFile(file, images, hashlib.sha256(data).hexdigest())


def matched(candidates: CaptionFile, references: CaptionFile) -> tuple[CaptionFile, list[str]]:
    """The candidates under the image ids of the references, and notices.

    An id may be a number in one file and text in the other. Images whose ids differ are found by their file names, also
    without folder, without ending, or in another case, where that fits one image of each file; a notice gives their number.
    """
    new_ids: dict[ImageId, ImageId] = {i: i for i in candidates.images if i in references.images}
    notices = []
    for key, is_plain in ((_id_as_text, True), (_file_name, False), (_stem, False)):
        taken = set(new_ids.values())
        free = _unique({i: entry for i, entry in references.images.items() if i not in taken}, key)
        left = _unique({i: entry for i, entry in candidates.images.items() if i not in new_ids}, key)
        found = {image_id: free[name] for name, image_id in left.items() if name in free}
        new_ids |= found
        if found and not is_plain:
            first = next(iter(found))
            notices.append(f"Matched {count_of(found)} by file name, such as {first} with {found[first]}.")
    images = {new_ids.get(i, i): replace(entry, image_id=new_ids.get(i, i)) for i, entry in candidates.images.items()}
    return replace(candidates, images=images), notices


def count_of(ids: Mapping[ImageId, object] | Sequence[ImageId]) -> str:
    """`1 image`, `2 images`."""
    return f"{len(ids)} image{'s' * (len(ids) != 1)}"


def _own(data: bytes, file: Path) -> Sequence[CaptionEntry] | None:
    """The entries of a file in one of capfw's own formats, else None."""
    if data.startswith(_HEADER):
        return _rows(data.decode("utf-8", "replace"))
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _lines(data)
    if isinstance(content, dict) and "annotations" in content:
        return _grouped(_entries(content["annotations"], file, _CAPTIONS), _file_names(content))
    if isinstance(content, dict) and content and all(map(_is_captions, content.values())):
        texts = {name: [value] if isinstance(value, str) else value for name, value in content.items()}
        return [CaptionEntry(name, tuple(each), name) for name, each in texts.items()]
    if content == [] or (isinstance(content, list) and isinstance(content[0], dict) and "image_id" in content[0]):
        entries = _entries(content, file, _RESULTS)
        named = {entry["image_id"]: entry["file"] for entry in content if isinstance(entry.get("file"), str)}
        return _grouped(entries, named)
    return _lines(data)


def _is_captions(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _rows(text: str) -> Sequence[CaptionEntry]:
    """The rows of the CSV of `capfw caption`. An image with an error has no caption; an empty caption is one."""
    captions: dict[ImageId, list[str]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        captions.setdefault(row["file"], []).extend([] if row["error"] else [row["caption"]])
    return [CaptionEntry(file, tuple(texts), str(file)) for file, texts in captions.items()]


def _lines(data: bytes) -> Sequence[CaptionEntry] | None:
    """The JSON lines of `capfw caption`, `{"file": ..., "captions": [{"caption": ...}]}` or with an "error"; else None."""
    try:
        rows: list[Any] = [json.loads(line) for line in data.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    entries = []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("file"), str) or not row.keys() & {"captions", "error"}:
            return None
        made = row.get("captions", [])
        if not isinstance(made, list) or not all(
            isinstance(one, dict) and isinstance(one.get("caption"), str) for one in made
        ):
            return None
        entries.append(CaptionEntry(row["file"], tuple(one["caption"] for one in made), row["file"]))
    return entries


def _entries(content: object, file: Path, wanted: str) -> list[tuple[ImageId, str]]:
    if not isinstance(content, list) or not content:
        raise DataError(f"this is not {wanted}, or it is empty.", where=str(file))
    entries: list[tuple[ImageId, str]] = []
    for place, entry in enumerate(content):
        image_id, caption = (entry.get("image_id"), entry.get("caption")) if isinstance(entry, dict) else (None, None)
        if not isinstance(image_id, int | str) or isinstance(image_id, bool) or not isinstance(caption, str):
            raise DataError(
                "an entry needs an image_id (number or text) and a caption (text).", where=f"{file}, entry {place}"
            )
        entries.append((image_id, caption))
    return entries


def _file_names(content: Mapping[str, Any]) -> dict[ImageId, str]:
    """The file names in the `images` of a COCO captions file; other programs may leave them out."""
    images = content.get("images")
    return {
        image["id"]: image["file_name"]
        for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict)
        and isinstance(image.get("id"), int | str)
        and isinstance(image.get("file_name"), str)
    }


def _grouped(entries: Sequence[tuple[ImageId, str]], file_names: Mapping[ImageId, str]) -> list[CaptionEntry]:
    captions: dict[ImageId, list[str]] = {}
    for image_id, caption in entries:
        captions.setdefault(image_id, []).append(caption)
    return [CaptionEntry(i, tuple(texts), file_names.get(i, "")) for i, texts in captions.items()]


def _of_data_sets(
    file: Path, registry: Registry, columns: Mapping[str, Sequence[str]], flag: str
) -> Sequence[CaptionEntry]:
    """The entries from the data set that reads this format. Raises `DataError` where none does, or several do."""
    found, failed = {}, []
    for component in registry.components("dataset"):
        try:
            entries = narrowed(component.example, DatasetConfig).captions_of(file, columns=columns)
        except UnclearColumns as err:
            flags = " ".join(f"{flag} {question.role}=NAME" for question in err.questions)
            fix = f"The columns are {listed(list(err.columns), _NUM_NAMED)}.\nName yours: {flags}"
            fix += " (once for each column of captions)." if "caption" in flags else "."
            raise DataError(err.what, where=err.where, fix=fix) from err
        except CapfwError:
            raise
        except Exception as err:  # third-party code; it matters only if no other data set reads the file
            failed.append(f'Data set "{component.name}" failed to read it: {type(err).__name__}: {err}')
            continue
        if entries is not None:
            found[component.name] = entries
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise DataError(
            f"several data sets read this file: {', '.join(found)}.",
            where=str(file),
            fix="Leave one plugin out with `capfw --no-plugin NAME ...`.",
        )
    fix = 'Use COCO\'s formats, candidates [{"image_id": ..., "caption": ...}, ...] and references {"annotations": '
    fix += (
        '[{"image_id": ..., "caption": ...}, ...]}; or a table with columns such as file and caption (CSV, TSV, JSONL).'
    )
    what = "no data set reads captions in the format of this file" + " with these columns" * bool(columns)
    raise DataError(f"{what}.", where=str(file), fix="\n".join([*failed, fix]))


def _of_split(images: Mapping[ImageId, CaptionEntry], split: str, file: Path) -> dict[ImageId, CaptionEntry]:
    """The images of one split. Raises `DataError` where the file names no splits, or has no such one."""
    names = list(dict.fromkeys(entry.split for entry in images.values() if entry.split))
    if not names:
        raise DataError("this file names no splits.", where=str(file), fix="Leave out --split.")
    wanted = split_of(split) or split
    kept = {i: entry for i, entry in images.items() if entry.split and (split_of(entry.split) or entry.split) == wanted}
    if not kept:
        raise DataError(
            f'no image of this file is in split "{split}".', where=str(file), fix=choices("Splits", names, split)
        )
    return kept


def _unique(images: Mapping[ImageId, CaptionEntry], key: Callable[[CaptionEntry], str]) -> dict[str, ImageId]:
    """The images by their keys, without the keys of several images."""
    by_key: dict[str, list[ImageId]] = {}
    for image_id, entry in images.items():
        by_key.setdefault(key(entry), []).append(image_id)
    return {name: ids[0] for name, ids in by_key.items() if name and len(ids) == 1}


def _id_as_text(entry: CaptionEntry) -> str:
    return str(entry.image_id)


def _file_name(entry: CaptionEntry) -> str:
    """The file name without folders, in lower case, in one Unicode form; the id where the file names no files."""
    name = entry.file_name or str(entry.image_id)
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).name).lower()


def _stem(entry: CaptionEntry) -> str:
    return _ENDING.sub("", _file_name(entry))
