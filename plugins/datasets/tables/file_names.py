"""Finds the files that a table names, also where it spells them otherwise.

A name may lack the suffix of an image, have other folders in front, backslashes, upper or lower case, or another Unicode
normal form. The exact spelling always wins.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path

from ....core.protocols import missing_files
from .splits import folder_split

_IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2"}
)
_NUM_OFFERS = 20  # as many faults as a message lists
_NUM_NEAREST = 10
_LEAST_LIKENESS = 0.6


@dataclass(frozen=True)
class NameInTable:
    """A file name as a row has it. `beside` is the table's own folder, relative to the images; empty outside them."""

    file: str
    beside: str
    split: str | None


@dataclass(frozen=True)
class Found:
    """Files relative to the image folder, faults of names without one file, and the names that are spelled otherwise."""

    files: Mapping[NameInTable, str]
    faults: Mapping[NameInTable, str]
    respelled: Sequence[NameInTable] = ()


def folder_beside(table: Path, images: Path) -> str:
    """Returns the folder of the table relative to the images, or an empty text where it is not inside them."""
    return table.parent.relative_to(images).as_posix() if images in table.parent.parents else ""


def find_files(images: Path, names: Iterable[NameInTable]) -> Found:
    """Finds each name. It lists the folders of exact names once, and the whole tree once where such a file is missing."""
    wanted = list(dict.fromkeys(names))
    exact = {name: _exact(name) for name in wanted}
    missing = missing_files(images, {file for files in exact.values() for file in files})
    files: dict[NameInTable, str] = {}
    faults: dict[NameInTable, str] = {}
    others: list[NameInTable] = []
    for name, candidates in exact.items():
        there = [file for file in candidates if file not in missing]
        if len(there) == 1:
            files[name] = there[0]
        elif there:
            faults[name] = _ambiguous(name, there, images)
        elif name.file:
            others.append(name)
    if not others:
        return Found(files, faults)
    tree = _Tree.of(images, [name.file for name in wanted])
    respelled = []
    for name in others:
        hits = tree.find(name)
        if len(hits) == 1:
            files[name] = hits[0]
            respelled.append(name)
        elif hits:
            faults[name] = _ambiguous(name, hits, images)
    lost = [name for name in others if name not in files and name not in faults]
    offers = _offers(lost[:_NUM_OFFERS], set(tree.files) - set(files.values()))
    for name in lost:
        offer = f'; did you mean "{offers[name]}"?' if name in offers else ""
        faults[name] = f"no file {name.file} in {images}{offer}"
    return Found(files, faults, respelled)


def _exact(name: NameInTable) -> list[str]:
    if not name.file:
        return []
    return [name.file, f"{name.beside}/{name.file}"] if name.beside else [name.file]


def _ambiguous(name: NameInTable, files: Sequence[str], images: Path) -> str:
    return f"{name.file} may be {' or '.join(sorted(files)[:_NUM_NEAREST])} in {images}"


def _plain(name: str) -> str:
    """Returns the name with slashes, in lower case and in one Unicode normal form."""
    name = name.replace("\\", "/").removeprefix("./").lstrip("/")
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass
class _Tree:
    """All files below a folder by their plain names: with and without the suffix of an image, and without folders."""

    folder: str
    num_common: int
    files: list[str] = field(default_factory=list)
    by_path: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_last_part: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, images: Path, names: Sequence[str]) -> _Tree:
        """Lists the files below `images`. `names` are all names of the table: folders in front of each may be left out."""
        folders = [_plain(name).split("/")[:-1] for name in names]
        pairs = zip(min(folders), max(folders), strict=False)  # what the first and last share, all share
        num_common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        tree = cls(_plain(images.name), num_common)
        for folder, _, files in os.walk(images):
            inside = os.path.relpath(folder, images).replace(os.sep, "/")
            tree.files += [file if inside == "." else f"{inside}/{file}" for file in files if not file.startswith(".")]
        for file in tree.files:
            plain = _plain(file)
            stem, suffix = os.path.splitext(plain)
            for each in (plain, stem) if suffix in _IMAGE_SUFFIXES else (plain,):
                tree.by_path[each].append(file)
                tree.by_last_part[each.rpartition("/")[2]].append(file)
        return tree

    def find(self, name: NameInTable) -> list[str]:
        """Returns the files that the name may mean: none, one, or several."""
        plain = _plain(name.file)
        parts = plain.split("/")
        forms = [plain, *([_plain(f"{name.beside}/{name.file}")] if name.beside else [])]
        forms += [
            "/".join(parts[dropped:])
            for dropped in range(1, len(parts))
            if dropped <= self.num_common or parts[dropped - 1] == self.folder
        ]
        for form in forms:
            if hits := self.by_path.get(form):
                return self._as_spelled(name, hits)
        hits = self.by_last_part.get(plain, []) if len(parts) == 1 else []
        of_split = [file for file in hits if name.split and folder_split(file) == name.split]
        return self._as_spelled(name, of_split or hits)

    def _as_spelled(self, name: NameInTable, hits: list[str]) -> list[str]:
        """Returns the one of several files that is spelled as the end of the name, else all."""
        spelled = name.file.replace("\\", "/")
        same = [file for file in hits if f"/{spelled}".endswith(f"/{file}")]
        return same if len(hits) > 1 and len(same) == 1 else hits


def _offers(names: Sequence[NameInTable], files: Iterable[str]) -> dict[NameInTable, str]:
    """Returns the nearest of `files` for each name that has a near one. It reads the files once."""
    wanted: defaultdict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        for piece in _pieces(name.file):
            wanted[piece].append(number)
    nearest: list[list[tuple[float, str]]] = [[] for _ in names]
    for file in sorted(files):
        pieces = _pieces(file)
        shared = Counter(number for piece in pieces for number in wanted.get(piece, ()))
        for number, count in shared.items():
            nearest[number].append((count / (len(pieces) or 1), file))
    offers = {}
    for name, found in zip(names, nearest, strict=True):
        few = sorted(found, reverse=True)[:_NUM_NEAREST]
        plain = _plain(name.file)
        ranked = [(SequenceMatcher(None, plain, _plain(file)).ratio(), file) for _, file in few]
        if ranked and max(ranked)[0] >= _LEAST_LIKENESS:
            offers[name] = max(ranked)[1]
    return offers


def _pieces(name: str) -> set[str]:
    """Returns the pairs of neighbouring letters in the last part of a name, without its suffix."""
    stem = os.path.splitext(_plain(name).rpartition("/")[2])[0]
    return {stem[i : i + 2] for i in range(len(stem) - 1)} or {stem}
