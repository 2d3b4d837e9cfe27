"""Passes the events of a run to its loggers. Each logger has a thread and a bounded queue, so it never slows the run."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, TextIO

from ...errors import CapfwError
from ...protocols import EpochEnded, Evaluated, LoggedRun, Logger, LoggerConfig, StepEnded, hookimpl, narrowed
from ...registry import brief
from ...spec import RunSpec
from .observers import Observers

FOLDER = "loggers"
"""The folder in a run directory in which each logger has its own folder."""
_THREAD = "capfw logger"
_MOST_WAITING = 1000
_NUM_SHOWN = 300  # characters of an error in a notice
_Call = Callable[[Logger], None]


class BackgroundLogger:
    """An observer that calls one logger in a thread of its own. The thread begins with the first record.

    Events only put a call into the queue. A full queue drops the record and counts it. `observers` receive the notices:
    the way to look at the record, and the error if the logger fails.
    """

    def __init__(self, name: str, logger: Logger, run: LoggedRun, observers: Observers) -> None:
        self.name = name
        self._logger, self._run, self._observers = logger, run, observers
        self._queue: Queue[_Call | None] = Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name=f"{_THREAD} {name}", daemon=True)
        self._places: Queue[str] = Queue()  # the result of `start`
        self._error: BaseException | None = None
        self._is_closed = self._is_complete = False
        self._num_dropped = self._step = 0

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Records the losses, the learning rate, the gradient norm and the speed of a step."""
        self._step = event.step
        named = event.losses if len(event.losses) > 1 else {}
        values = {"loss": event.loss, **{f"loss/{name}": value for name, value in named.items()}}
        values |= {"lr": event.lr, "grad_norm": event.grad_norm, "captions_per_second": event.captions_per_second}
        self._scalars(event.step, {f"train/{name}": value for name, value in values.items()})

    @hookimpl
    def epoch_ended(self, event: EpochEnded) -> None:
        """Records the mean loss of an epoch."""
        self._scalars(self._step, {"train/epoch_loss": event.train_loss, "epoch": float(event.epoch)})

    @hookimpl
    def evaluated(self, event: Evaluated) -> None:
        """Records scores, the share of distinct captions and examples; all images after the final evaluation."""
        share = {} if event.distinct_share is None else {"distinct_share": event.distinct_share}
        self._scalars(event.step, {f"{event.split}/{name}": v for name, v in {**event.scores, **share}.items()})
        if event.examples:
            self._send(lambda logger: logger.log_examples(event.step, event.split, event.examples))
        if (results := event.results) is not None:
            self._send(lambda logger: logger.log_results(results))

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._send(lambda logger: logger.log_scalars(step, values))

    def _send(self, call: _Call) -> None:
        self._report()
        if self._is_closed:
            return
        if self._thread.ident is None:
            self._thread.start()
        try:
            self._queue.put_nowait(call)
        except Full:
            self._num_dropped += 1

    def _work(self) -> None:
        """Performs the calls, in the thread. `None` is the last one: the run is over."""
        try:
            self._run.folder.mkdir(parents=True, exist_ok=True)
            self._places.put(self._logger.start(self._run))
            while (call := self._queue.get()) is not None:
                call(self._logger)
            self._logger.finish(is_complete=self._is_complete)
        except (Exception, SystemExit) as err:  # a logger is third-party code: it must not end the run
            self._error = err

    def _report(self) -> None:
        """Reports the way to look at the record, or the error of the logger, once each, in the thread of the run."""
        if not self._places.empty():
            self._observers.inform(f"logger {self.name}: {self._places.get()}")
        if self._error is not None and not self._is_closed:
            self._is_closed = True
            self._observers.warn(f"logger {self.name} failed, and the run goes on without it: {_in_words(self._error)}")

    def end(self, *, is_complete: bool) -> None:
        """Lets the logger finish behind the records that wait; of a full queue, the oldest one makes room."""
        self._is_complete = is_complete
        while True:
            try:
                self._queue.put_nowait(None)
            except Full:
                with suppress(Empty):
                    self._queue.get_nowait()
                    self._num_dropped += 1
            else:
                return

    def wait(self, deadline: float) -> None:
        """Waits for the end of the thread until `deadline` (`time.monotonic`). Reports a failure, delay or loss."""
        if self._thread.ident is None:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._report()
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread.is_alive():
            self._observers.warn(
                f"logger {self.name} did not finish in time, and its record is incomplete. If its service is only slow, "
                "raise finish_seconds of this logger."
            )
        elif self._num_dropped:
            self._observers.warn(
                f"logger {self.name} was too slow: {self._num_dropped} records are missing. log.jsonl has all of them."
            )


class _LoggersAside:
    """`sys.stdout` during a run: the thread of a logger prints on stderr instead, because results go to stdout."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        """Writes to the stream of the calling thread."""
        is_logger = threading.current_thread().name.startswith(_THREAD)
        return (sys.stderr if is_logger else self._stdout).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


@contextmanager
def _prints_aside() -> Iterator[None]:
    before, aside = sys.stdout, _LoggersAside(sys.stdout)
    sys.stdout = aside  # it has every attribute of the stream
    try:
        yield
    finally:
        if sys.stdout is aside:
            sys.stdout = before


@contextmanager
def logged(
    spec: RunSpec, loggers: Sequence[Logger], observers: Observers, run_dir: Path, *, is_resumed: bool
) -> Iterator[None]:
    """Has the `loggers` of `spec`, in its order, record the run. At the end each may take its `finish_seconds`."""
    threads = [
        BackgroundLogger(part.name, logger, _described(part.name, spec, run_dir, is_resumed), observers)
        for part, logger in zip(spec.loggers, loggers, strict=True)
    ]
    if not threads:
        yield
        return
    observers.add(*threads)
    is_complete = False
    with _prints_aside():
        try:
            yield
            is_complete = True
        finally:
            began = time.monotonic()
            for thread in threads:
                thread.end(is_complete=is_complete)
            for thread, part in zip(threads, spec.loggers, strict=True):
                thread.wait(began + narrowed(part.config, LoggerConfig).finish_seconds)


def _described(name: str, spec: RunSpec, run_dir: Path, is_resumed: bool) -> LoggedRun:
    folder = run_dir / FOLDER / name
    return LoggedRun(run_dir.name, run_dir, folder, spec.without_loggers(), is_resumed and folder.is_dir())


def _in_words(error: BaseException) -> str:
    """The error in one line: its text, behind its type if it is no error of capfw; without passwords in addresses."""
    text = str(error) if isinstance(error, CapfwError) else f"{type(error).__name__}: {error}"
    text = re.sub(r"://[^/\s@]+@", "://", text)
    return brief(re.sub(r"([?&]\w*token=)[^\s&]+", r"\1...", text), _NUM_SHOWN)
