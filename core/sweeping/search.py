"""Optuna's search: settings drawn from a space one after another, from the scores of earlier ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from ..errors import MissingLibrary, Problem, RunError, SpecError, listed
from ..options.problems import pointer
from ..spec.differences import differences
from ..spec.trained import BEST_FILE
from .planning import PlannedTrial, Planner
from .records import SweepFolder, SweepRecord, Trial, read_object
from .settings import Change, Setting, corners_of
from .sweep_spec import Range, Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, TrialState

_MOST_REPEATS = 100  # draws of settings that were drawn before, after which the space counts as empty
_REPEATED = "repeated"


class TpeSearch:
    """The trials of a search by the tree-structured Parzen estimator (Bergstra et al., 2011), which Optuna implements.

    The value of a setting is the mean val score over its seeds. Optuna's database is in the sweep's folder. A setting stays
    "running" there until all its seeds have finished: so the next call takes up again what was stopped, or failed.
    """

    def __init__(self, sweep: Sweep, planner: Planner) -> None:
        """Raises `MissingLibrary` without Optuna, and `SpecError` where a value or an end of a range is wrong."""
        _require_optuna()
        assert sweep.num is not None
        self.sweep, self.planner = sweep, planner
        self.first = planner.plan(corners_of(sweep))[0].spec
        self.num_trials = sweep.num * max(1, len(sweep.seeds))
        self.is_exhausted = False
        self._trials: dict[int, list[Trial]] = {}
        self._open: dict[str, int] = {}  # trial name -> number of its setting, until it has finished
        self._begun: list[PlannedTrial] = []

    def open(self, folder: SweepFolder) -> None:
        """Opens the database, and takes up the settings of earlier calls."""
        self.folder, self.study = folder, self._open_study(folder)
        for trial in self.study.get_trials(deepcopy=False):
            if len(trial.params) < len(self.sweep.space):  # a kill came between the draws of its values
                self.study.tell(trial.number, state=_failed(), skip_if_finished=True)
            elif _REPEATED not in trial.user_attrs:
                self._begun += self._plan(trial.number, trial.params)

    def more(self, num_free: int) -> Sequence[PlannedTrial]:
        """The trials of earlier calls; then those of new settings, as many as workers are free."""
        given, self._begun = self._begun, []
        while not given and not self.is_exhausted and num_free > 0:
            given = self._ask_several(num_free)
        return given

    def ended(self, planned: PlannedTrial, *, is_finished: bool) -> None:
        """Reports a setting to Optuna once all its trials have finished. Raises `RunError` where it has no val score."""
        if not is_finished:
            return
        number = self._open.pop(planned.trial.name)
        if number in self._open.values() or self._is_reported(number):
            return
        best = [read_object(self.folder.run_dir(trial) / BEST_FILE).get("score") for trial in self._trials[number]]
        scores = [score for score in best if score is not None]
        if len(scores) < len(best):
            what = "the data set has no val split, so a search has no score to follow."
            raise RunError(what, where=str(self.folder.path), fix='Add a val split, or use "random".')
        mean = sum(scores) / len(scores)
        if math.isnan(mean):
            self.study.tell(number, state=_failed())
        else:
            self.study.tell(number, mean)

    def record(self) -> SweepRecord:
        """The facts about the trials so far."""
        trials = [trial for trials in self._trials.values() for trial in trials]
        best_by, is_lower_better = self.first.train.best_by, self.first.is_lower_better
        return SweepRecord(trials, best_by, is_lower_better, self.sweep.description, is_whole=self.is_exhausted)

    def _open_study(self, folder: SweepFolder) -> Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            study_name="sweep",
            storage=f"sqlite:///{folder.database.resolve()}",
            direction="minimize" if self.first.is_lower_better else "maximize",
            load_if_exists=True,
        )
        space = self.sweep.model_dump(mode="json")["space"]
        if study.user_attrs.get("space", space) != space:
            what, fix = "the folder of this sweep holds a search of another space.", "Choose another /folder."
            raise SpecError([Problem("/space", what, fix)], source=self.sweep.source)
        base = self.first.to_json()
        if places := differences(study.user_attrs.get("base", base), base):
            what = f"the folder of this sweep holds a search from another base spec: {listed(places, 3)}."
            raise SpecError([Problem("/base", what, "Choose another /folder.")], source=self.sweep.source)
        study.set_user_attr("space", space)
        study.set_user_attr("base", base)
        # A call that continues must not draw the first settings again, so its seed depends on their number.
        seed = self.sweep.search_seed + len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        return study

    def _ask_several(self, num_free: int) -> list[PlannedTrial]:
        """The trials of new settings, for this many workers or a few more."""
        given: list[PlannedTrial] = []
        assert self.sweep.num is not None
        while len(given) < num_free and not self.is_exhausted:
            number = self._ask()
            if number is not None:
                given += self._plan(number, self._of_study(number).params)
            self.is_exhausted = number is None or len(self._trials) >= self.sweep.num
        return given

    def _ask(self) -> int | None:
        """The number of a setting that was not drawn before; None where the space seems to have no other."""
        assert self.sweep.num is not None
        if len(self._trials) >= self.sweep.num:
            return None
        seen = [self._of_study(number).params for number in self._trials]
        for _ in range(_MOST_REPEATS):
            asked = self.study.ask(_distributions(self.sweep))
            if asked.params not in seen:
                return asked.number
            asked.set_user_attr(_REPEATED, True)
            self.study.tell(asked, state=_failed())
        return None

    def _of_study(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _is_reported(self, number: int) -> bool:
        return self._of_study(number).state.is_finished()

    def _plan(self, number: int, params: Mapping[str, Any]) -> list[PlannedTrial]:
        """The trials of a drawn setting. A setting with a wrong spec is recorded as failed, and has no trials to run."""
        setting, prefix = self._setting(params), f"{number:03d}__"
        try:
            planned = self.planner.plan([setting], prefix=prefix)
        except SpecError as err:
            seeds = self.sweep.seeds or (self.first.seed,)
            self._trials[number] = [Trial(f"{prefix}seed-{seed}", setting.values, seed) for seed in seeds]
            for trial in self._trials[number]:
                self.folder.mark_failed(trial, str(err))
            return []
        self._trials[number] = [each.trial for each in planned]
        self._open |= {each.trial.name: number for each in planned}
        return planned

    def _setting(self, params: Mapping[str, Any]) -> Setting:
        changes = []
        for place, values in self.sweep.space.items():
            value: JsonValue = params[place] if isinstance(values, Range) else json.loads(params[place])
            changes.append(Change(place, value, "/space" + pointer([place])))
        return Setting(tuple(changes))


def _distributions(sweep: Sweep) -> dict[str, Any]:
    """Optuna's distribution of each place. Listed values are their JSON: Optuna takes no objects."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for place, values in sweep.space.items():
        if not isinstance(values, Range):
            found[place] = CategoricalDistribution(list(dict.fromkeys(json.dumps(value) for value in values)))
        elif values.integer:
            found[place] = IntDistribution(int(values.low), int(values.high), log=values.log)
        else:
            found[place] = FloatDistribution(values.low, values.high, log=values.log)
    return found


def _failed() -> TrialState:
    """Optuna's state of a setting that has no value."""
    from optuna.trial import TrialState

    return TrialState.FAIL


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401  # only whether it is there
    except ImportError as err:
        error = MissingLibrary('search "tpe" needs the library optuna.', fix='pip install "capfw[optuna]"')
        error.where = "/search"
        raise error from err
