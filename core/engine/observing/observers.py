"""Passes the events of a run to its observers. A failing observer is reported once and removed; the run continues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import pluggy

from ...errors import PluginError
from ...protocols import EpochEnded, Evaluated, Notice, Progress, RunEnded, RunStarted, StepEnded
from ...registry import Registry

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
    """The run hooks of every plugin in `registry` and of the objects in `extra`. Only the main process calls them.

    Raises `PluginError` for an object in `extra` without hooks, or with a misspelt hook.
    """

    def __init__(self, registry: Registry, extra: Sequence[object] = (), *, is_main: bool = True) -> None:
        everyone = registry.with_plugins(*extra)
        for status in everyone.plugins[len(registry.plugins) :]:
            if status.state == "broken":
                raise PluginError(f"{status.name} cannot be used: {status.cause}", where="observers")
        self._hooks = everyone.hooks
        self._failed: list[pluggy.HookRelay] = []
        self._is_main = is_main

    def add(self, *observers: object) -> None:
        """Adds objects with hooks, in the main process."""
        if self._is_main:
            self._hooks = (*self._hooks, *Registry(observers).hooks)

    def tell(self, event: Event) -> None:
        """Calls the event's hook in every observer, in the order of the plugins, after tryfirst and before trylast."""
        if not self._is_main:
            return
        name_of_hook = _HOOK[type(event)]
        for plugin, hooks in sorted(self._hooks, key=lambda each: _rank(getattr(each[1], name_of_hook))):
            if hooks in self._failed:
                continue
            try:
                getattr(hooks, name_of_hook)(event=event)
            except (Exception, SystemExit) as err:  # an observer is third-party code: it must not end the run
                self._failed.append(hooks)
                self.warn(f"observer {plugin} failed and gets no more events: {err!r}")

    def warn(self, text: str) -> None:
        """Reports a warning."""
        self.tell(Notice("warning", text))

    def inform(self, text: str) -> None:
        """Reports a piece of information."""
        self.tell(Notice("info", text))


def _rank(caller: pluggy.HookCaller) -> int:
    """The rank of an observer for this event: -1 with tryfirst, 1 with trylast, else 0."""
    return sum(implementation.trylast - implementation.tryfirst for implementation in caller.get_hookimpls())
