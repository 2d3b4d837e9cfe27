"""Collects the images and captions of plain result files, of any system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, RequestError
from ..protocols import FileSource, ImageId, Metric
from ..protocols.images import SUFFIXES
from ..scoring import FileScores, References, read_candidates, read_references, score_files
from .collection import Collection, System, ViewedImage, distinct_names, require_few
from .runs import candidates_of


def view_files(
    candidates: Sequence[Path],
    references: Path | None = None,
    images: Path | None = None,
    *,
    metrics: Sequence[Metric] = (),
) -> Collection:
    """The captions of one to four result files, over the images of the references, or of the files themselves.

    `metrics` score every file whose images have references. `images` is the folder of the photos. Images without a
    candidate or without references are shown, and counted in a notice. Raises `CapfwError`.
    """
    require_few(len(candidates), "files")
    if images is not None and not images.is_dir():
        raise RequestError(
            "there is no such folder.", where=str(images), fix="Name the folder of the photos: --images DIR."
        )
    known: References = read_references(references)[0] if references else {}
    names = _file_names(references) if references else {}
    systems, notices = [], []
    for file, name in zip(candidates, distinct_names(candidates), strict=True):
        read_candidates(file)
        entries = json.loads(file.read_bytes())
        captions = candidates_of(entries, file)
        names |= {entry["image_id"]: str(entry["file"]) for entry in entries if "file" in entry}
        scored = _scores(file, references, captions, known, metrics)
        notices += [f"{name}: {text}" for text in (scored.notices if scored else ())]
        facts = {
            "images": f"{len(captions):,}",
            **({"scored images": f"{scored.signature['num_images']:,}"} if scored else {}),
        }
        scores, per_image = (scored.scores, scored.per_image) if scored else ({}, {})
        systems.append(System(name, str(file), captions, scores, per_image, facts))
    ids = list(dict.fromkeys([*known, *(image_id for system in systems for image_id in system.candidates)]))
    photos = _Photos(images) if images else None
    shown = [_image(image_id, known, names.get(image_id, ""), photos) for image_id in ids]
    if photos and (missing := sum(each.source is None for each in shown)):
        notices.append(f"{missing} of {len(shown)} images have no photo in {images}.")
    main_score = next((name for name in ("CIDEr", *_names(systems)) if name in _names(systems)), None)
    return Collection(" · ".join(system.name for system in systems), None, shown, systems, main_score, notices)


def _names(systems: Sequence[System]) -> list[str]:
    return [name for system in systems for name in system.per_image]


def _scores(
    file: Path,
    references: Path | None,
    captions: Mapping[ImageId, object],
    known: References,
    metrics: Sequence[Metric],
) -> FileScores | None:
    if references is None or not metrics or not captions.keys() & known.keys():
        return None
    return score_files(file, references, metrics, allow_missing=True, allow_extra=True)


def _file_names(references: Path) -> dict[ImageId, str]:
    """The file names in the list "images" of a COCO captions file, if it has one."""
    content: Any = json.loads(references.read_bytes())
    listed = content.get("images") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        return {}
    try:
        return {each["id"]: str(each["file_name"]) for each in listed if "file_name" in each}
    except (KeyError, TypeError) as err:
        raise DataError('an entry of "images" needs an id.', where=str(references)) from err


def _image(image_id: ImageId, known: References, name: str, photos: _Photos | None) -> ViewedImage:
    path = photos.find(image_id, name) if photos else None
    return ViewedImage(image_id, known.get(image_id, ()), name, None if path is None else FileSource(path))


class _Photos:
    """The photos in a folder, by name, or by the number in the name. It never leaves the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_stem: dict[str, Path] | None = None

    def find(self, image_id: ImageId, name: str) -> Path | None:
        """The photo of this name, or else the one whose name without suffix is the id; None where there is none."""
        relative = PurePosixPath(name)
        if name and "\0" not in name and not relative.is_absolute() and ".." not in relative.parts:
            try:
                if (self._folder / relative).is_file():
                    return self._folder / relative
            except OSError:  # a name too long for the file system
                pass
        if self._by_stem is None:
            files = [path for path in sorted(self._folder.iterdir()) if path.suffix.lower() in SUFFIXES]
            self._by_stem = {_number(path.stem.rpartition("_")[2]): path for path in files}
            self._by_stem |= {path.stem: path for path in files}
        return self._by_stem.get(str(image_id))


def _number(stem: str) -> str:
    return str(int(stem)) if stem.isdecimal() else stem
