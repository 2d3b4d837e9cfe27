"""The hooks that a plugin may implement: one per kind of component, and one per event of a run."""

from __future__ import annotations

import pluggy

from .component import Component
from .events import EpochEnded, Evaluated, Notice, Progress, RunEnded, RunStarted, StepEnded
from .kinds import KINDS

PROJECT = "capfw"
API_VERSION = 1
"""Version of the plugin API. A plugin module may declare `capfw_api = 1`; the registry refuses any other number."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RunHooks:
    """The events of a run. pluggy holds every plugin to these signatures."""

    @hookspec
    def run_started(self, event: RunStarted) -> None:
        """A run begins or continues."""

    @hookspec
    def progressed(self, event: Progress) -> None:
        """A stage made progress."""

    @hookspec
    def noticed(self, event: Notice) -> None:
        """Something a person should read."""

    @hookspec
    def step_ended(self, event: StepEnded) -> None:
        """One optimizer step is done."""

    @hookspec
    def epoch_ended(self, event: EpochEnded) -> None:
        """One epoch is done."""

    @hookspec
    def evaluated(self, event: Evaluated) -> None:
        """A split was captioned and scored."""

    @hookspec
    def run_ended(self, event: RunEnded) -> None:
        """The run ended well."""


@hookspec
def _components() -> list[Component]:
    """The components of one kind in this package."""
    return []


def plugin_manager() -> pluggy.PluginManager:
    """A new plugin manager with the hooks of all events, and one for each kind of component."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(RunHooks)
    manager.add_hookspecs(type("KindHooks", (), {row.hook: _components for row in KINDS.values()}))
    return manager


RUN_HOOKS = tuple(name for name in vars(RunHooks) if not name.startswith("_"))
HOOKS = (*(row.hook for row in KINDS.values()), *RUN_HOOKS)
