"""Where the trials of a sweep come from: all at once, or one after another from a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..registry import Registry
from .planning import PlannedTrial, Planner
from .records import State, SweepFolder, SweepRecord, Trial
from .search import TpeSearch
from .settings import settings_of
from .sweep_spec import Sweep


class TrialSource(Protocol):
    """Gives the trials of a sweep to the scheduler."""

    def open(self, folder: SweepFolder) -> None:
        """Reads what an earlier call left in the folder, which this process has locked."""

    def more(self, num_free: int) -> Sequence[PlannedTrial]:
        """New trials, where `num_free` workers have nothing to do."""

    @property
    def is_exhausted(self) -> bool:
        """Whether no trial will follow."""

    @property
    def num_trials(self) -> int:
        """The number of trials in the end."""

    def ended(self, planned: PlannedTrial, *, is_finished: bool) -> None:
        """Takes note of a trial that finished or failed, or that had finished before."""

    def record(self) -> SweepRecord:
        """The facts about all trials so far."""


class AllTrials:
    """The trials of a grid, a list or a random sample. Raises `SpecError` with the problems of all."""

    def __init__(self, sweep: Sweep, planner: Planner) -> None:
        self.sweep, self.planned = sweep, planner.plan(settings_of(sweep))
        self.is_exhausted, self.num_trials = False, len(self.planned)

    def open(self, folder: SweepFolder) -> None:
        """Nothing: each run directory holds the state of its trial."""

    def more(self, num_free: int) -> Sequence[PlannedTrial]:
        """All trials, at the first call."""
        given, self.is_exhausted = ([] if self.is_exhausted else self.planned), True
        return given

    def ended(self, planned: PlannedTrial, *, is_finished: bool) -> None:
        """Nothing: no trial depends on another."""

    def record(self) -> SweepRecord:
        """The facts about all trials."""
        first = self.planned[0].spec
        trials = [each.trial for each in self.planned]
        return SweepRecord(trials, first.train.best_by, first.is_lower_better, self.sweep.description)


def source_of(sweep: Sweep, registry: Registry) -> AllTrials | TpeSearch:
    """The source of the sweep's trials, with everything validated that can be before the first run."""
    planner = Planner(sweep, registry)
    return TpeSearch(sweep, planner) if sweep.search == "tpe" else AllTrials(sweep, planner)


def plan_sweep(sweep: Sweep, *, skip: Sequence[str] = ()) -> list[tuple[Trial, State]]:
    """The trials that are known before the sweep runs (of a search, none), with the state of each. Checks all of them.

    Raises `SpecError` with every problem. `skip` names plugins to leave out.
    """
    source, folder = source_of(sweep, Registry.discover(skip=skip)), SweepFolder(sweep.folder)
    planned = source.planned if isinstance(source, AllTrials) else []
    return [(each.trial, each.state(folder)) for each in planned]
