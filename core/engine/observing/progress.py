"""Shows the progress of a run on stderr: bars with rates on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ...protocols import EpochEnded, Evaluated, Notice, RunEnded, RunStarted, StepEnded, hookimpl
from ...protocols import Progress as ProgressEvent

_LINE_EVERY_SECONDS = 10.0


class ProgressDisplay:
    """An observer that shows one bar for the current stage; on a plain stream, a line every ten seconds.

    Use it as a context manager: it then removes the bar after an error, and restores the cursor.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._begun = self._last_line = time.monotonic()
        self._first_done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(escape(text), style=style, highlight=False, soft_wrap=True)

    def _show(self, stage: str, done: int, total: int, unit: str, note: str = "") -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._begun, self._first_done, self._last_line = stage, now, done, now
        rate = (done - self._first_done) / (now - self._begun) if now > self._begun else 0.0
        text = " ".join(filter(None, (f"{rate:.0f} {unit}/s" if rate else "", note)))
        if self._console.is_terminal:
            if self._bar is None:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                self._bar = Progress(*columns, TextColumn("{task.fields[text]}"), console=self._console)
                self._bar.start()
                self._task = self._bar.add_task(stage, total=total, completed=done, text=text)
            assert self._task is not None
            self._bar.update(self._task, completed=done, text=text)
        elif now - self._last_line >= _LINE_EVERY_SECONDS or done >= total:
            self._last_line = now
            remaining = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
            self._say(f"{stage}: {done} of {total} {unit}{remaining} {text}".rstrip())
        if done >= total:
            self.close()

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task, self._stage = None, None, ""

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Prints the run directory."""
        self._say(f"{'Continuing in' if event.is_resumed else 'Run directory:'} {event.run_dir}")

    @hookimpl
    def progressed(self, event: ProgressEvent) -> None:
        """Moves the bar."""
        self._show(event.stage, event.done, event.total, event.unit)

    @hookimpl
    def noticed(self, event: Notice) -> None:
        """Prints the notice."""
        is_warning = event.level == "warning"
        self._say(("warning: " if is_warning else "") + event.text, "yellow" if is_warning else "")

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Moves the training bar."""
        note = f"epoch {event.epoch}, loss {event.loss:.3f}, {event.captions_per_second:.0f} captions/s"
        self._show("train", event.step, event.num_steps, "steps", note)

    @hookimpl
    def epoch_ended(self, event: EpochEnded) -> None:
        """Prints the losses."""
        self.close()
        val = f", val loss {event.val_loss:.3f}" if event.val_loss is not None else ""
        self._say(f"epoch {event.epoch} of {event.num_epochs}: train loss {event.train_loss:.3f}{val}")

    @hookimpl
    def evaluated(self, event: Evaluated) -> None:
        """Prints the scores."""
        self.close()
        scores = ", ".join(f"{name} {value:.3f}" for name, value in event.scores.items())
        best = " (best so far)" if event.is_best and event.split == "val" else ""
        self._say(f"{event.split} at step {event.step}: {scores}{best}")

    @hookimpl
    def run_ended(self, event: RunEnded) -> None:
        """Removes the bar."""
        self.close()
