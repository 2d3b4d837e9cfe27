"""Shows the progress of a run: bars with rates on a terminal, a line that changes in a notebook, plain lines elsewhere."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ...protocols import EpochEnded, Evaluated, Notice, RunEnded, RunStarted, StepEnded, hookimpl
from ...protocols import Progress as ProgressEvent

_PLAIN_EVERY_SECONDS, _NOTEBOOK_EVERY_SECONDS = 10.0, 0.5
_CONTROL = {
    code: f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}
"""Characters of captions, file names and errors that would steer the terminal, with the text that stands for each."""


class ProgressDisplay:
    """An observer that shows one bar for the current stage; on a plain stream, a line every ten seconds.

    Use it as a context manager: it then removes the bar after an error, and restores the cursor.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._is_notebook = self._console.is_jupyter
        if self._is_notebook:  # rich needs ipywidgets for a bar there, and makes an output of its own of every line
            self._console = Console(file=sys.stdout, force_jupyter=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._line: Any = None  # IPython's handle of the line that changes
        self._stage = ""
        self._begun = self._last_line = time.monotonic()
        self._first_done = 0

    @property
    def is_watched(self) -> bool:
        """Whether it writes to a terminal or a notebook."""
        return self._is_notebook or self._console.is_terminal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(escape(text.translate(_CONTROL)), style=style, highlight=False, soft_wrap=True)

    def show(self, stage: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        """Shows how far a stage is; `total` is None where nobody knows it."""
        now = time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._begun, self._first_done, self._last_line = stage, now, done, now
        rate = (done - self._first_done) / (now - self._begun) if now > self._begun else 0.0
        text = " ".join(filter(None, (f"{rate:.0f} {unit}/s" if rate else "", note)))
        is_done = total is not None and done >= total
        if self._console.is_terminal and not self._is_notebook:
            self._move_bar(stage, done, total, text)
        elif is_done or now - self._last_line >= self._seconds_between_lines:
            self._last_line = now
            left = f", {(total - done) / rate:.0f} s left" if total is not None and rate and not is_done else ""
            self._put_line(f"{stage}: {done}{'' if total is None else f' of {total}'} {unit}{left} {text}".rstrip())
        if is_done:
            self.close()

    @property
    def _seconds_between_lines(self) -> float:
        return _NOTEBOOK_EVERY_SECONDS if self._is_notebook else _PLAIN_EVERY_SECONDS

    def _move_bar(self, stage: str, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[text]}"), console=self._console)
            self._bar.start()
            self._task = self._bar.add_task(stage, total=total, completed=done, text=text)
        assert self._task is not None
        self._bar.update(self._task, completed=done, text=text)

    def _put_line(self, line: str) -> None:
        if not self._is_notebook:
            self._say(line)
        elif self._line is None:
            display = importlib.import_module("IPython.display").display
            self._line = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._line.update({"text/plain": line}, raw=True)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task, self._line, self._stage = None, None, None, ""

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Prints the run directory."""
        self._say(f"{'Continuing in' if event.is_resumed else 'Run directory:'} {event.run_dir}")

    @hookimpl
    def progressed(self, event: ProgressEvent) -> None:
        """Moves the bar."""
        self.show(event.stage, event.done, event.total, event.unit)

    @hookimpl
    def noticed(self, event: Notice) -> None:
        """Prints the notice."""
        is_warning = event.level == "warning"
        self._say(("warning: " if is_warning else "") + event.text, "yellow" if is_warning else "")

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Moves the training bar."""
        note = f"epoch {event.epoch}, loss {event.loss:.3f}, {event.captions_per_second:.0f} captions/s"
        self.show("train", event.step, event.num_steps, "steps", note)

    @hookimpl
    def epoch_ended(self, event: EpochEnded) -> None:
        """Prints the losses."""
        self.close()
        val = f", val loss {event.val_loss:.3f}" if event.val_loss is not None else ""
        self._say(f"epoch {event.epoch} of {event.num_epochs}: train loss {event.train_loss:.3f}{val}")

    @hookimpl
    def evaluated(self, event: Evaluated) -> None:
        """Prints the scores and the examples."""
        self.close()
        scores = ", ".join(f"{name} {value:.3f}" for name, value in event.scores.items())
        best = " (best so far)" if event.is_best and event.split == "val" else ""
        self._say(f"{event.split} at step {event.step}: {scores}{best}")
        for each in event.examples:
            reference = f' (reference: "{each.references[0]}")' if each.references else ""
            self._say(f'  image {each.image_id}: "{each.caption}"{reference}')

    @hookimpl
    def run_ended(self, event: RunEnded) -> None:
        """Removes the bar."""
        self.close()


@contextmanager
def shown(observers: Sequence[object], progress: bool | None) -> Iterator[Sequence[object]]:
    """Yields the observers of a run and, if it is wanted, a display beside them.

    `progress` None wants one on a terminal and in a notebook. A display among the observers takes its place.
    """
    with _display(progress) as display:
        has_own = any(isinstance(each, ProgressDisplay) for each in observers)
        yield observers if display is None or has_own else [display, *observers]


@contextmanager
def counted(stage: str, total: int | None, unit: str, progress: bool | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that shows how much of a stage is done. `progress` is that of `shown`."""
    with _display(progress) as display:
        yield lambda done: None if display is None else display.show(stage, done, total, unit)


@contextmanager
def _display(progress: bool | None) -> Iterator[ProgressDisplay | None]:
    with ProgressDisplay() as display:
        yield display if (display.is_watched if progress is None else progress) else None
