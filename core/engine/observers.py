"""Tells observers what happens in a run. An observer that fails is named once and left out; the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..protocols import EpochEnded, Evaluated, Notice, Progress, RunEnded, RunStarted, StepEnded
from ..registry import Registry

Event: TypeAlias = RunStarted | Progress | Notice | StepEnded | EpochEnded | Evaluated | RunEnded

_HOOK = {
    RunStarted: "run_started",
    Progress: "progressed",
    Notice: "noticed",
    StepEnded: "step_ended",
    EpochEnded: "epoch_ended",
    Evaluated: "evaluated",
    RunEnded: "run_ended",
}


class Observers:
    """The run hooks of every plugin in `registry` and of the objects in `extra`. Only the main process tells them."""

    def __init__(self, registry: Registry, extra: Sequence[object] = (), *, is_main: bool = True) -> None:
        self._hook = registry.with_plugins(*extra).hook
        self._failed: set[str] = set()
        self._is_main = is_main

    def tell(self, event: Event) -> None:
        """Calls the event's hook in every observer."""
        if not self._is_main:
            return
        for implementation in getattr(self._hook, _HOOK[type(event)]).get_hookimpls():
            if implementation.plugin_name in self._failed:
                continue
            try:
                arguments = {"event": event} if "event" in implementation.argnames else {}
                implementation.function(**arguments)
            except (
                Exception,
                SystemExit,
            ) as err:  # an observer is a stranger's code: what it raises must not end the run
                self._failed.add(implementation.plugin_name)
                self.warn(f"observer {implementation.plugin_name} failed and is left out from here on: {err!r}")

    def warn(self, text: str) -> None:
        """Tells a warning."""
        self.tell(Notice("warning", text))

    def inform(self, text: str) -> None:
        """Tells a piece of information."""
        self.tell(Notice("info", text))
