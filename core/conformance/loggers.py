"""Checks of loggers: each records a short run into a folder, in a thread of its own, as the engine does."""

from __future__ import annotations

import math
import threading
from functools import cache
from pathlib import Path
from typing import cast

from ..protocols import LoggedRun, Logger
from .checks import check, require
from .results import captioned_split
from .subjects import NotChecked, Subject

_SECONDS = 120.0


def _record(subject: Subject, folder: Path, *, is_resumed: bool) -> str:
    """The result of `start`, after a run in which everything was recorded."""
    subject.sound()
    logger = cast("Logger", subject.build())
    results = captioned_split()
    places, errors = list[str](), list[BaseException]()

    def work() -> None:
        try:
            places.append(logger.start(LoggedRun("a run", folder.parent, folder, results.spec, is_resumed)))
            for step in (10, 20):
                logger.log_scalars(step, {"train/loss": 3.5 / step, "train/loss/cross-entropy": 3.0, "lr": math.nan})
                logger.log_examples(step, "val", results.images)
            logger.log_results(results)
            logger.finish(is_complete=not is_resumed)
        except BaseException as err:  # it goes to the thread of the check
            errors.append(err)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    for error in errors:
        raise error
    require(not thread.is_alive(), f"it has not finished after {_SECONDS:.0f} s.")
    return places[0]


@cache
def _recorded(subject: Subject) -> tuple[Path, str, Exception | None]:
    """The folder of a recorded run, the result of `start`, and the error."""
    folder = subject.folder("run") / "logger"
    folder.mkdir()
    try:
        return folder, _record(subject, folder, is_resumed=False), None
    except Exception as err:  # a third party's logger may raise anything
        return folder, "", err


def _first_record(subject: Subject) -> tuple[Path, str]:
    """The folder of a recorded run, and the result of `start`. Raises `NotChecked` where it was not recorded."""
    folder, place, error = _recorded(subject)
    if isinstance(error, NotChecked):
        raise error
    if error is not None:
        raise NotChecked("the logger records no run: see records-a-run.")
    return folder, place


@check(
    "records-a-run",
    "logger",
    advice="Record any text and any number: captions may be empty or hold any character, values may be NaN, and "
    "`thumbnail()` is None where there is no picture. Let `example` need no server and no account.",
)
def records_a_run(subject: Subject) -> None:
    """It records values, examples and results in a thread of its own, and finishes."""
    error = _recorded(subject)[2]
    if error is not None:
        raise error


@check(
    "continues-a-record",
    "logger",
    advice="Where `run.is_resumed` is True, continue the record in `run.folder`: keep there what identifies it. Steps come "
    "again after the last checkpoint.",
)
def continues_a_record(subject: Subject) -> None:
    """A continued run adds to its record, with steps that it has recorded before."""
    folder, _ = _first_record(subject)
    before = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
    _record(subject, folder, is_resumed=True)
    lost = sorted(str(name) for name in before if not (folder / name).is_file())
    require(not lost, f"a continued run removed {', '.join(lost[:3])}.")


@check(
    "names-its-place",
    "logger",
    advice="Return one line from `start`: a URL, or the command that shows the record. The run prints it.",
)
def names_its_place(subject: Subject) -> None:
    """`start` returns one line that says how to look at the record."""
    _, place = _first_record(subject)
    require(isinstance(place, str) and bool(place.strip()) and "\n" not in place, f"start returned {place!r}.")
