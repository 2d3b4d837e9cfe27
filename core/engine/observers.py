"""Tells observers what happens in a run. An observer that fails is named once and left out; the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..errors import PluginError
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
    """The run hooks of every plugin in `registry` and of the objects in `extra`. Only the main process tells them.

    Raises `PluginError` for an object in `extra` that cannot be one: without hooks, or with a misspelt one.
    """

    def __init__(self, registry: Registry, extra: Sequence[object] = (), *, is_main: bool = True) -> None:
        everyone = registry.with_plugins(*extra)
        for status in everyone.plugins[len(registry.plugins) :]:
            if status.state == "broken":
                raise PluginError(f"{status.name} cannot be used: {status.cause}.", where="observers")
        self._hook = everyone.hook
        self._failed: set[str] = set()
        self._is_main = is_main

    def tell(self, event: Event) -> None:
        """Calls the event's hook in every observer, in the order of the plugins but for tryfirst and trylast."""
        if not self._is_main:
            return
        implementations = getattr(self._hook, _HOOK[type(event)]).get_hookimpls()
        for implementation in sorted(implementations, key=lambda each: each.trylast - each.tryfirst):
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
