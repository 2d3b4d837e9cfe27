"""Files of captions: text, CSV, JSON lines or COCO's results, by the ending of the name.

While images are captioned, each row goes to FILE.part at once. At the end FILE is written aside and renamed. So FILE is
whole or absent, and an interrupted call loses nothing: the same call reads FILE.part and goes on after it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TextIO

from ..errors import RequestError
from .atomic import write_aside
from .captioning import Row

FORMATS = {".txt": "text", ".csv": "CSV", ".jsonl": "JSON lines", ".json": "COCO's results"}
"""The endings of files of captions, and their formats."""
_COLUMNS = ("file", "caption", "log_prob", "error")
_NUMBERED = re.compile(r"(?:COCO_\w+_)?(\d+)")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}


def format_of_file(path: Path) -> str:
    """The ending of `path` that gives the format. Raises `RequestError` for another one."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        fix = "Endings: " + ", ".join(f"{known} ({words})" for known, words in FORMATS.items()) + "."
        raise RequestError(f'no format has the ending "{path.suffix}".', where=str(path), fix=fix)
    return ending


def require_output(path: Path, *, is_forced: bool = False) -> None:
    """Raises `RequestError` for an unknown ending, a file that exists (unless `is_forced`), and a missing folder."""
    format_of_file(path)
    if path.is_dir():
        raise RequestError("this is a folder.", where=str(path), fix="Name a file: --output FILE.")
    if path.exists() and not is_forced:
        raise RequestError("this file exists already.", where=str(path), fix="Name another, or add --force.")
    if not path.parent.is_dir():
        raise RequestError("its folder does not exist.", where=str(path), fix=f"Make the folder {path.parent} first.")


def text_of(row: Row) -> str:
    """The lines `name TAB caption` of a row; empty for an error. Line ends and tabs in names and captions are escaped."""
    name = printable(row.name).translate(_CONTROL)
    return "".join(f"{name}\t{printable(each.text).translate(_CONTROL)}\n" for each in row.captions)


def json_line_of(row: Row) -> str:
    """The row as one line of JSON."""
    return printable(json.dumps(row.to_json(), ensure_ascii=False)) + "\n"


def printable(name: str) -> str:
    """The name with bytes that are not UTF-8 as escapes: they cannot be printed."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def formatter(ending: str, names: Sequence[str]) -> Callable[[Row], str]:
    """A function that writes a row in the format of `ending`; COCO's image ids depend on the names of all images."""
    if ending == ".json":
        ids = _image_ids(names)
        return lambda row: "" if row.error is not None else _candidate(row, ids[row.name])
    return {".txt": text_of, ".csv": _csv_of, ".jsonl": json_line_of}[ending]


def _csv_of(row: Row) -> str:
    written = io.StringIO()
    rows: list[tuple[object, ...]] = [(each.text, each.log_prob, None) for each in row.captions]
    csv.writer(written, lineterminator="\n").writerows(
        (printable(row.name), *values) for values in rows or [(None, None, row.error)]
    )
    return printable(written.getvalue())


def _candidate(row: Row, image_id: int | str) -> str:
    made = row.to_json()["captions"]
    assert isinstance(made, list)
    first, *others = made
    value = {"image_id": image_id, **first, **({"others": others} if others else {}), "file": row.name}
    return printable(json.dumps(value, ensure_ascii=False))


def _image_ids(names: Sequence[str]) -> dict[str, int | str]:
    """The number in each file name (42.jpg, COCO_val2014_000000000042.jpg) if all have one of their own, else the names."""
    found = [_NUMBERED.fullmatch(PurePath(name).stem) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if len(set(numbers)) == len(names):
        return dict(zip(names, numbers, strict=True))
    return {name: printable(name) for name in names}


class CaptionsFile:
    """A file of captions that is being written; `done` has the images in FILE.part, each with its error, if any."""

    def __init__(self, path: Path, request: Mapping[str, object], *, is_forced: bool = False) -> None:
        """Opens FILE.part, and goes on after its rows if they are those of the same `request`.

        Raises `RequestError` as `require_output` does, when the folder cannot be written, and when FILE.part belongs to
        another request (unless `is_forced`: it is then begun again).
        """
        require_output(path, is_forced=is_forced)
        self.path, self.part = path, path.with_name(path.name + ".part")
        self._header = json.dumps({"captions_of": dict(request)})
        try:
            self._keep_whole_lines(is_forced)
            self.done = {row.name: row.error for row in self._rows()}
            self._opened: TextIO = self.part.open("a", encoding="ascii")
        except OSError as err:
            what = f"it cannot be written: {err.strerror or err}."
            raise RequestError(what, where=str(path), fix="Name a file in a folder where you can write.") from err

    def _keep_whole_lines(self, is_forced: bool) -> None:
        """Cuts off a line that an interruption left incomplete, and begins a new file where there is none to go on with."""
        content = self.part.read_bytes() if self.part.exists() else b""
        head, is_whole, _ = content.partition(b"\n")
        if is_whole and head == self._header.encode():
            os.truncate(self.part, content.rfind(b"\n") + 1)
            return
        if is_whole and not is_forced:
            what = "it holds captions of another run, checkpoint or options."
            raise RequestError(what, where=str(self.part), fix="Delete it, or add --force to begin again.")
        self.part.write_text(self._header + "\n", encoding="ascii")

    def _rows(self) -> Iterator[Row]:
        with self.part.open(encoding="ascii") as opened:
            next(opened)
            yield from (Row.from_json(json.loads(line)) for line in opened)

    def add(self, row: Row) -> None:
        """Appends a row to FILE.part."""
        self._opened.write(json.dumps(row.to_json()) + "\n")
        self._opened.flush()
        self.done[row.name] = row.error

    def close(self) -> None:
        """Closes FILE.part, with which the same call goes on; removes it if it has no row."""
        self._opened.close()
        if not self.done:
            self.part.unlink()

    def finish(self, names: Sequence[str]) -> None:
        """Writes FILE with the rows of these images, and removes FILE.part."""
        self._opened.close()
        ending = format_of_file(self.path)
        wanted, write = set(names), formatter(ending, names)
        texts = (write(row) for row in self._rows() if row.name in wanted)
        write_aside(self.path, lambda aside: _write(aside, _framed(ending, texts)))
        self.part.unlink()


def _framed(ending: str, texts: Iterable[str]) -> Iterator[str]:
    if ending == ".csv":
        yield ",".join(_COLUMNS) + "\n"
    if ending != ".json":
        yield from texts
        return
    begun = "[\n"
    for text in filter(None, texts):
        yield begun + text
        begun = ",\n"
    yield "[]\n" if begun == "[\n" else "\n]\n"


def _write(file: Path, chunks: Iterable[str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.writelines(chunks)
