"""Lets SIGINT and SIGTERM end training after a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """A flag that is set when one of the signals arrives."""

    def __init__(self) -> None:
        self.is_requested = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Records the first signal; a second signal acts as usual. Outside the main thread it handles no signals."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        interruption.is_requested = True
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, handle)
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
