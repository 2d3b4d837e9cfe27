"""The trials of a sweep, with a validated spec of each. Every problem is reported before the first run starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import Problem, SpecError, listed
from ..registry import Registry
from ..spec import RunSpec, load_spec
from ..spec.differences import differences
from ..spec.provenance import ENVIRONMENT
from .naming import distinct, short_places, trial_name
from .records import State, SweepFolder, Trial, read_object, run_dir_of
from .settings import Setting
from .sweep_spec import Sweep

_MOST_NAMED = 3  # trials that a message names


@dataclass(frozen=True)
class PlannedTrial:
    """A trial, its setting and its validated spec."""

    trial: Trial
    setting: Setting
    spec: RunSpec

    @property
    def features_key(self) -> str | None:
        """Equal for trials that may share stored features; None where the encoder is tuned, and nothing is stored."""
        if self.spec.train.tune.encoder is not None:
            return None
        features = self.spec.features
        return json.dumps([self.spec.encoder.to_json(), features.dtype, str(features.store)], sort_keys=True)

    @property
    def gets_more_epochs(self) -> bool:
        """Whether its run directory holds the same run with fewer epochs."""
        begun = read_object(self.spec.run_dir / "spec.json")
        return bool(begun) and begun["train"]["epochs"] < self.spec.train.epochs

    def state(self, folder: SweepFolder) -> State:
        """The state in the folder of the sweep. A finished run that gets more epochs is unfinished again."""
        state = folder.state(self.trial)
        return "unfinished" if state == "finished" and self.gets_more_epochs else state


@dataclass(frozen=True)
class _Draft:
    """A trial whose spec is not validated yet."""

    name: str
    setting: Setting
    seed: int | None


class Planner:
    """Makes the trials of settings: their names and specs. Raises `SpecError` where the base spec cannot be read."""

    def __init__(self, sweep: Sweep, registry: Registry) -> None:
        self.sweep, self.registry = sweep, registry
        self.base, self.base_dir = sweep.read_base()
        self._labels = short_places(sweep.places)

    def plan(self, settings: Sequence[Setting], *, prefix: str = "") -> list[PlannedTrial]:
        """A trial of each setting and seed. `prefix` begins their names.

        Raises `SpecError` with every problem, at the place in the sweep file that it comes from. A problem that several
        trials share is reported once.
        """
        drafts, specs, problems = self._drafts(settings, prefix), list[RunSpec](), list[tuple[_Draft, Problem]]()
        description = ""
        for draft in drafts:
            try:
                specs.append(self._spec(draft))
            except SpecError as err:
                problems += [(draft, problem) for problem in err.problems]
                description = err.description or description
        if problems:
            raise SpecError(
                self._at_their_places(problems, len(drafts)), source=self.sweep.source, description=description
            )
        planned = [
            PlannedTrial(Trial(draft.name, draft.setting.values, spec.seed), draft.setting, spec)
            for draft, spec in zip(drafts, specs, strict=True)
        ]
        if found := [*_repeated(planned), *_unrankable(planned), *_other_runs(planned)]:
            raise SpecError(found, source=self.sweep.source)
        return planned

    def _drafts(self, settings: Sequence[Setting], prefix: str) -> list[_Draft]:
        pairs = [(setting, seed) for setting in settings for seed in self.sweep.seeds or (None,)]
        names = [prefix + trial_name(setting.values, seed, self._labels) for setting, seed in pairs]
        named = distinct(names, [[setting.values, seed] for setting, seed in pairs])
        return [_Draft(name, setting, seed) for name, (setting, seed) in zip(named, pairs, strict=True)]

    def _spec(self, draft: _Draft) -> RunSpec:
        folder = self.sweep.folder
        # From the outside in: a value of a part must not undo one inside it.
        changes = sorted(draft.setting.changes, key=lambda change: change.place.count("/"))
        overrides: list[tuple[str, object]] = [(change.place, change.value) for change in changes]
        overrides += [] if draft.seed is None else [("/seed", draft.seed)]
        overrides.append(("/run_dir", str(run_dir_of(folder, draft.name))))
        spec = load_spec(self.base, registry=self.registry, overrides=overrides, base_dir=self.base_dir)
        if spec.features.store != spec.run_dir.parent / "features":
            return spec
        store = SweepFolder(folder).features  # shared by all trials, beside `runs` and not among them
        return spec.model_copy(update={"features": spec.features.model_copy(update={"store": store})})

    def _at_their_places(self, problems: Sequence[tuple[_Draft, Problem]], num_drafts: int) -> list[Problem]:
        """Each problem once, at its place in the sweep file. One of the base spec names the trials if not all have it."""
        names: dict[Problem, list[str]] = {}
        for draft, problem in problems:
            names.setdefault(self._placed(draft.setting, problem), []).append(draft.name)
        return [
            problem
            if len(having) == num_drafts or not problem.pointer.startswith("/base")
            else replace(problem, message=f"{problem.message} Trials: {listed(having, _MOST_NAMED)}.")
            for problem, having in names.items()
        ]

    def _placed(self, setting: Setting, problem: Problem) -> Problem:
        message = problem.message.removeprefix("--set: ")
        for change in reversed(setting.changes):
            if problem.pointer == change.place or problem.pointer.startswith(f"{change.place}/"):
                place = change.origin + problem.pointer.removeprefix(change.place)
                return replace(problem, pointer=place, message=message)
        return self.sweep.in_base(replace(problem, message=message))


def _repeated(planned: Sequence[PlannedTrial]) -> Iterator[Problem]:
    """Trials that are one run twice, which would count as two."""
    seen: dict[str, PlannedTrial] = {}
    for each in planned:
        values = {**each.spec.to_json(), "run_dir": None}
        earlier = seen.setdefault(json.dumps(values, sort_keys=True), each)
        if earlier is not each:
            own = next(_new_in(each, earlier), "")
            what = f'this makes the same run as "{earlier.trial.name}".'
            yield Problem(own, what, "Remove one of the two.")


def _new_in(planned: PlannedTrial, other: PlannedTrial, place: str = "") -> Iterator[str]:
    """The places in the sweep file of the values that only the first of two trials has, of those that touch `place`."""
    theirs = {change.origin for change in other.setting.changes}
    for change in planned.setting.changes:
        if change.origin not in theirs and (place.startswith(change.place) or change.place.startswith(place)):
            yield change.origin


def _unrankable(planned: Sequence[PlannedTrial]) -> Iterator[Problem]:
    """Differences between the trials that make their val scores incomparable, and specs without data."""
    first = planned[0].spec
    for place, read in _RANKED_BY.items():
        other = next((each for each in planned if read(each.spec) != read(first)), None)
        if other is not None:
            origin = next(_new_in(other, planned[0], place), "")
            what = f"the trials differ in {place}, so their scores cannot be ranked."
            yield Problem(origin, what, "Give all of them the same, in the base spec.")
    if any(each.spec.data is None for each in planned):
        yield Problem("/base", "a trial has no data set: /data is null.", "Name a data set in the base spec.")


_RANKED_BY: Mapping[str, Callable[[RunSpec], object]] = {
    "/train/best_by": lambda spec: spec.train.best_by,
    "/metrics": lambda spec: spec.metrics,
}


def _other_runs(planned: Sequence[PlannedTrial]) -> list[Problem]:
    """A problem where run directories of the sweep's folder hold runs of other specs. More epochs continue a run."""
    found = []
    for each in planned:
        begun = read_object(each.spec.run_dir / ENVIRONMENT)
        if "features" not in begun:  # `capfw run` replaces the spec of a run that has no features yet
            continue
        places = differences(read_object(each.spec.run_dir / "spec.json"), each.spec.to_json())
        if places and not (places == ["/train/epochs"] and each.gets_more_epochs):
            found.append(f"{each.trial.name} ({listed(places, _MOST_NAMED)})")
    if not found:
        return []
    what = f"this folder has runs of an earlier sweep with other specs: {listed(found, _MOST_NAMED)}."
    return [Problem("/folder", what, "Choose another folder, or delete these runs.")]
