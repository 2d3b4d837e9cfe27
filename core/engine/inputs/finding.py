"""Finds the images that a user names: files, folders, patterns and URLs. Nothing is left out without a reason."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import RequestError
from ...protocols import FileSource, Source
from ...protocols.images import HEAD, SUFFIXES, format_of
from .urls import UrlSource

HIDDEN = "hidden or system files"
OTHER = "other files"
AGAIN = "named or linked twice"
SEEN_FOLDER = "linked folders that were searched already"
MISSING = "missing"
BROKEN_LINK = "broken links"
IRREGULAR = "pipes or devices"
UNLISTED = "folders that cannot be read"
NO_MATCH = "patterns without a match"
_FAILURES = frozenset({MISSING, BROKEN_LINK, UNLISTED, NO_MATCH})
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True)
class Skipped:
    """A path that is not captioned: why, and for a file of another type its suffix."""

    name: str
    reason: str
    suffix: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether the user asked for something that cannot be had."""
        return self.reason in _FAILURES


@dataclass(frozen=True)
class FoundImages:
    """The images in order, each a path or a URL; the skipped paths; and the number of images beyond the limit."""

    images: tuple[Path | str, ...]
    skipped: tuple[Skipped, ...] = ()
    num_beyond_limit: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """The name of each image: its path or URL."""
        return list(map(str, self.images))

    def sources(self) -> Iterator[Source]:
        """A new source for each image. A source of a URL keeps what it downloads: do not keep them all."""
        return map(source_of, self.images)

    def by_type(self) -> Mapping[str, int]:
        """The number of images of each format, by suffix or by their first bytes; the most frequent first."""
        return dict(Counter(map(_type_of, self.images)).most_common())

    def reasons(self) -> Mapping[str, int]:
        """The number of skipped paths by reason, and of images beyond the limit."""
        counts = Counter(each.reason for each in self.skipped)
        others = Counter(each.suffix for each in self.skipped if each.reason == OTHER)
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        found = {f"{reason} ({kinds})" if reason == OTHER else reason: count for reason, count in counts.items()}
        return found | ({"beyond --limit": self.num_beyond_limit} if self.num_beyond_limit else {})


def find_images(given: Iterable[Path | str], *, allow_urls: bool = False, limit: int | None = None) -> FoundImages:
    """The images in `given`: files, folders, patterns such as `photos/**/*.jpg`, and URLs where they are allowed.

    A file named in `given` is taken whatever its name. Folders are searched recursively, and linked folders once: they
    yield files with the suffix of an image, and files without a suffix that begin like an image. The images of a folder or
    pattern are sorted. A file that is named or linked twice is taken once. Raises `RequestError` for a URL that is not
    allowed.
    """
    search = _Search()
    for each in given:
        text = os.fspath(each)
        if scheme := _SCHEME.match(text):
            search.take([(_allowed_url(text, scheme[1].lower(), allow_urls), False)])
        else:
            search.add(text)
    most = len(search.images) if limit is None else limit
    return FoundImages(tuple(search.images[:most]), tuple(search.skipped), max(0, len(search.images) - most))


def source_of(image: Path | str) -> Source:
    """The source of an image in `FoundImages`."""
    return UrlSource(image) if isinstance(image, str) else FileSource(image)


@dataclass
class _Search:
    images: list[Path | str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        """Takes a file, the images of a folder, or those that match a pattern."""
        path = text if os.path.lexists(text) else os.path.expanduser(text)
        if os.path.isdir(path):
            self.take(_Folder(self.skipped).files([path]))
        elif os.path.lexists(path):
            self._take_named(path)
        elif glob.has_magic(path):
            self._take_matches(path)
        else:
            self.skipped.append(Skipped(text, MISSING))

    def take(self, found: Iterable[tuple[str, bool]]) -> None:
        """Takes each file (path, is it a link) once, by its own name rather than by a link; sorted by path."""
        taken = []
        for path, _ in sorted(found, key=lambda each: (each[1], Path(each[0]).parts)):
            real = path if _SCHEME.match(path) else os.path.realpath(path)
            if real in self._taken:
                self.skipped.append(Skipped(path, AGAIN))
                continue
            self._taken.add(real)
            taken.append(path)
        self.images += [path if _SCHEME.match(path) else Path(path) for path in sorted(taken, key=_order)]

    def _take_named(self, path: str) -> None:
        if os.path.exists(path):
            self.take([(path, False)])
        else:
            self.skipped.append(Skipped(path, BROKEN_LINK))

    def _take_matches(self, pattern: str) -> None:
        parts = Path(pattern.removesuffix("**") if pattern.endswith("/**") else pattern).parts
        first = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        base = Path(*parts[:first])
        # pathlib's `**` follows no links, so that a loop of links ends; a linked folder that matches is searched below.
        matches = list(base.glob(str(Path(*parts[first:])))) if parts[first:] else [base]
        hidden = {path for path in matches if any(map(_is_hidden, path.relative_to(base).parts))}
        self.skipped += [Skipped(str(path), HIDDEN) for path in sorted(hidden)]
        if not matches:
            self.skipped.append(Skipped(pattern, NO_MATCH))
        self.take(_Folder(self.skipped).files([str(path) for path in matches if path not in hidden]))


class _Folder:
    """Searches folders for the images of one argument; every file and folder that it meets is taken or skipped."""

    def __init__(self, skipped: list[Skipped]) -> None:
        self._skipped = skipped
        self._searched: set[str] = set()
        self._seen: set[str] = set()
        self._found: dict[str, bool] = {}

    def files(self, paths: Iterable[str]) -> list[tuple[str, bool]]:
        """The images among the files `paths` and in the folders `paths`, each with whether it is reached by a link."""
        given = list(paths)
        waiting = [(path, False) for path in given if not _is_linked_folder(path)]
        linked = [path for path in given if _is_linked_folder(path)]
        while waiting or linked:  # linked folders come last: a file keeps its own name if it has one here
            path, is_linked = waiting.pop() if waiting else (linked.pop(0), True)
            for entry in self._entries(path, is_linked=is_linked) if os.path.isdir(path) else [path]:
                if not os.path.isdir(entry):
                    self._look_at(entry, is_linked=is_linked or os.path.islink(entry))
                elif _is_linked_folder(entry):
                    linked.append(entry)
                else:
                    waiting.append((entry, is_linked))
        return list(self._found.items())

    def _entries(self, folder: str, *, is_linked: bool) -> list[str]:
        real = os.path.realpath(folder)
        if real in self._searched:
            if is_linked:
                self._skipped.append(Skipped(folder, SEEN_FOLDER))
            return []
        self._searched.add(real)
        try:
            paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        except OSError:
            self._skipped.append(Skipped(folder, UNLISTED))
            return []
        hidden = [path for path in paths if _is_hidden(path)]
        self._skip(hidden, HIDDEN)
        return [path for path in paths if not _is_hidden(path)]

    def _look_at(self, path: str, *, is_linked: bool) -> None:
        """Takes a file that looks like an image, and skips another one."""
        if path in self._seen:  # a pattern can match a folder and the files in it
            return
        self._seen.add(path)
        suffix = os.path.splitext(path)[1].lower()
        if suffix and suffix not in SUFFIXES:
            self._skipped.append(Skipped(path, OTHER, suffix))
        elif not os.path.exists(path):
            self._skip([path], BROKEN_LINK)
        elif not os.path.isfile(path):
            self._skip([path], IRREGULAR)
        elif suffix or _sniffed(path) is not None or not os.access(path, os.R_OK):  # reading names the error
            self._found[path] = is_linked
        else:
            self._skipped.append(Skipped(path, OTHER, "without suffix"))

    def _skip(self, paths: Iterable[str], reason: str) -> None:
        self._skipped += [Skipped(path, reason) for path in paths]


def _order(path: str) -> tuple[str, ...]:
    return Path(path).parts


def _is_linked_folder(path: str) -> bool:
    return os.path.islink(path) and os.path.isdir(path)


def _is_hidden(path: str) -> bool:
    name = os.path.basename(path)
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def _sniffed(path: Path | str) -> str | None:
    """The format by the first bytes; None where the file is no image or cannot be read."""
    try:
        with open(path, "rb") as opened:
            return format_of(opened.read(HEAD))
    except OSError:
        return None


def _type_of(image: Path | str) -> str:
    if isinstance(image, str):
        return "URL"
    known = SUFFIXES.get(image.suffix.lower())
    return known or (_sniffed(image) if image.is_file() else None) or "unknown"


def _allowed_url(url: str, scheme: str, is_allowed: bool) -> str:
    """The URL. Raises `RequestError` unless it is one of http or https, and URLs are allowed."""
    if scheme not in ("http", "https"):
        raise RequestError(f'capfw does not download over "{scheme}".', where=url, fix="Use http, https or a file.")
    if not is_allowed:
        fix = "To download images add --allow-urls (in Python: allow_urls=True)."
        raise RequestError("this is a URL, and downloads are not allowed.", where=url, fix=fix)
    return url
