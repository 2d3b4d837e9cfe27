"""Checks of exporters, with a split of three images."""

from __future__ import annotations

from functools import cache
from typing import cast

from ..errors import CapfwError
from ..protocols import Exporter, ExporterConfig, narrowed
from .checks import check, require
from .results import captioned_split
from .subjects import NotChecked, Subject


@cache
def _exported(subject: Subject) -> tuple[str, Exception | None]:
    """The result of `export` and its error."""
    exporter, suffix = cast("Exporter", subject.sound()), narrowed(subject.config, ExporterConfig).suffix()
    output = None if suffix is None else subject.folder("exports") / f"test{suffix}"
    try:
        hint = exporter.export(captioned_split(), output)
    except Exception as err:  # a third party's exporter may raise anything
        return "", err
    require(output is None or output.is_file(), f"it wrote no file at {output}.")
    return hint, None


@check(
    "exports-a-split",
    "exporter",
    advice="Export any text and any number: captions may be empty or hold any character, images may lack scores and "
    "references, and `thumbnail()` is None where there is no picture. Write the file to `output`.",
)
def exports_a_split(subject: Subject) -> None:
    """It exports captions, references and scores of a split, into the file where its config names a suffix."""
    error = _exported(subject)[1]
    if isinstance(error, CapfwError):
        raise NotChecked(str(error))  # its tool takes no images in memory, or none that are no pictures
    if error is not None:
        raise error


@check(
    "says-how-to-open-it",
    "exporter",
    advice="Return one line from `export`: the way to open the result. `capfw export` prints it.",
)
def says_how_to_open_it(subject: Subject) -> None:
    """`export` returns one line that says how to open the result."""
    hint, error = _exported(subject)
    if error is not None:
        raise NotChecked("nothing was exported: see exports-a-split.")
    require(isinstance(hint, str) and bool(hint.strip()) and "\n" not in hint, f"export returned {hint!r}.")
