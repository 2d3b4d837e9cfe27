"""Collects the images and captions of plain result files, of any system."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..captions import CaptionFile, matched, read_captions
from ..errors import RequestError
from ..protocols import FileSource, ImageId, Metric
from ..protocols.images import SUFFIXES
from ..registry import Registry
from ..scoring import FileScores, score_files
from .collection import Candidate, Collection, System, ViewedImage, distinct_names, require_few
from .runs import candidates_of


def view_files(
    candidates: Sequence[Path],
    references: Path | None = None,
    images: Path | None = None,
    *,
    registry: Registry | None = None,
    split: str | None = None,
    metrics: Sequence[Metric] = (),
    lower_is_better: Sequence[str] = (),
) -> Collection:
    """The captions of one to four files, over the images of the references, or of the files themselves.

    `read_captions` says which formats it reads; `split` keeps one split of the references. `metrics` score every file
    whose images have references; less is better in their scores `lower_is_better`. `images` is the folder of the photos.
    Images without a candidate or without references are shown, and counted in a notice. Raises `CapfwError`.
    """
    require_few(len(candidates), "files")
    if images is not None and not images.is_dir():
        fix = "Name the folder of the photos: --images DIR."
        raise RequestError("there is no such folder.", where=str(images), fix=fix)
    registry = registry or Registry.discover()
    known = read_captions(references, registry, split=split) if references else None
    systems, notices = [], []
    names = {i: entry.file_name for i, entry in known.images.items()} if known else {}
    for path, name in zip(candidates, distinct_names(candidates), strict=True):
        given = read_captions(path, registry)
        found = matched(given, known)[0] if known else given
        stored = _stored(given)
        captions = {new: stored[old] for old, new in zip(given.images, found.images, strict=True)}
        names = {**{i: entry.file_name for i, entry in found.images.items() if entry.file_name}, **names}
        scored = _scores(given, known, captions, metrics)
        notices += [f"{name}: {text}" for text in (scored.notices if scored else ())]
        systems.append(replace(_system(name, path, captions, scored), lower_is_better=lower_is_better))
    ids = dict.fromkeys([*(known.images if known else ()), *(i for system in systems for i in system.candidates)])
    photos = _Photos(images) if images else None
    references_of = known.every() if known else {}
    shown = [_image(i, references_of.get(i, ()), names.get(i, ""), photos) for i in ids]
    if photos and (missing := sum(each.source is None for each in shown)):
        notices.append(f"{missing} of {len(shown)} images have no photo in {images}.")
    scores = list(dict.fromkeys(name for system in systems for name in system.per_image))
    main_score = "CIDEr" if "CIDEr" in scores else next(iter(scores), None)
    return Collection(" · ".join(system.name for system in systems), None, shown, systems, main_score, notices)


def _stored(file: CaptionFile) -> dict[ImageId, Candidate]:
    """The candidates, with log-probabilities where the file is one of COCO's results that has them."""
    plain = {
        i: Candidate(entry.captions[0], others=[(text, None) for text in entry.captions[1:]])
        for i, entry in file.images.items()
    }
    try:
        content = json.loads(file.path.read_bytes())
    except (ValueError, RecursionError):
        return plain
    is_results = isinstance(content, list) and all(isinstance(entry, dict) and "log_prob" in entry for entry in content)
    rich = candidates_of(content, file.path) if is_results else {}
    return rich if len(content) == len(plain) and rich.keys() == plain.keys() else plain


def _scores(
    given: CaptionFile, known: CaptionFile | None, captions: Mapping[ImageId, Candidate], metrics: Sequence[Metric]
) -> FileScores | None:
    if known is None or not metrics or not captions.keys() & known.images.keys():
        return None
    return score_files(given, known, metrics, allow_missing=True, allow_extra=True, allow_duplicates=True)


def _system(name: str, path: Path, captions: Mapping[ImageId, Candidate], scored: FileScores | None) -> System:
    facts = {"images": f"{len(captions):,}"}
    if scored is None:
        return System(name, str(path), captions, facts=facts)
    facts["scored images"] = f"{scored.signature['num_images']:,}"
    return System(name, str(path), captions, scored.scores, scored.per_image, facts)


def _image(image_id: ImageId, references: tuple[str, ...], name: str, photos: _Photos | None) -> ViewedImage:
    path = photos.find(image_id, name) if photos else None
    return ViewedImage(image_id, references, name, None if path is None else FileSource(path))


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
            numbers = [_number(path.stem.rpartition("_")[2]) for path in files]
            count = Counter(numbers)  # a number of several photos names none
            self._by_stem = {number: path for number, path in zip(numbers, files, strict=True) if count[number] == 1}
            self._by_stem |= {path.stem: path for path in files}
        return self._by_stem.get(str(image_id))


def _number(stem: str) -> str:
    return str(int(stem)) if stem.isdecimal() else stem
