"""The hooks a plugin may implement: one per kind of component, and one per event of a run."""

from __future__ import annotations

import pluggy

from .component import Component
from .events import EpochEnded, Evaluated, Notice, Progress, RunEnded, RunStarted, StepEnded

PROJECT = "capfw"
API_VERSION = 1
"""Version of the plugin API. A plugin module may declare `capfw_api = 1`; any other number is refused."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Signatures that pluggy holds every plugin to."""

    @hookspec
    def register_encoders(self) -> list[Component]:
        """Encoders of this package."""
        return []

    @hookspec
    def register_mappers(self) -> list[Component]:
        """Mappers of this package."""
        return []

    @hookspec
    def register_decoders(self) -> list[Component]:
        """Decoders of this package."""
        return []

    @hookspec
    def register_metrics(self) -> list[Component]:
        """Metrics of this package."""
        return []

    @hookspec
    def register_datasets(self) -> list[Component]:
        """Data sets of this package."""
        return []

    @hookspec
    def register_importers(self) -> list[Component]:
        """Readers of other projects' files of this package."""
        return []

    @hookspec
    def run_started(self, event: RunStarted) -> None:
        """A run begins or continues."""

    @hookspec
    def progressed(self, event: Progress) -> None:
        """A stage moved on."""

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
