"""The results of a sweep: the scores of each trial, and of each setting over its seeds. Read without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ..errors import RunError
from ..resampling import CONFIDENCE
from ..spec.trained import BEST_FILE
from .intervals import Mean
from .naming import short_places, value_label
from .records import State, SweepFolder, SweepRecord, Trial, read_object

_WORK = ("stage_ended", "step", "epoch", "evaluated")  # events of a call that did something


@dataclass(frozen=True)
class TrialResult:
    """One trial. `score` is the val score of `/train/best_by` at the best checkpoint; `val` and `test` have all scores.

    `seconds` is the time of all calls of the run. Values that the run did not reach are None or empty.
    """

    trial: Trial
    state: State
    error: str
    run_dir: Path
    score: float | None = None
    val: Mapping[str, float] | None = None
    test: Mapping[str, float] | None = None
    num_trained: int | None = None
    num_parameters: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class SettingResult:
    """One setting over its seeds.

    `labels` are its values as text, one for each place of the sweep, "" where the base spec's value counts. `score` and
    `val` are means over the seeds that finished. `rank` is None for a setting without a val score of every seed.
    """

    values: Mapping[str, JsonValue]
    labels: tuple[str, ...]
    trials: tuple[TrialResult, ...]
    score: Mean | None
    val: Mapping[str, Mean]
    rank: int | None = None

    @property
    def finished(self) -> tuple[TrialResult, ...]:
        """The trials that finished."""
        return tuple(trial for trial in self.trials if trial.state == "finished")

    def mean_of(self, name: str) -> float | None:
        """The mean of a number of the finished trials: "seconds", "num_trained" or "num_parameters"."""
        values = [value for trial in self.finished if (value := getattr(trial, name)) is not None]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class SweepResults:
    """The settings of a sweep, the best one first, and those without a rank last.

    `places` are the places of the spec that the sweep changes, `columns` their short labels. `chosen` is the setting with
    the best val score, and `test` has its test scores, once every trial has ended. `notices` qualify the ranking.
    """

    folder: Path
    best_by: str
    is_lower_better: bool
    places: tuple[str, ...]
    columns: tuple[str, ...]
    settings: tuple[SettingResult, ...]
    chosen: SettingResult | None
    test: Mapping[str, Mean]
    notices: tuple[str, ...]
    description: str = ""

    @property
    def trials(self) -> list[TrialResult]:
        """All trials, setting by setting."""
        return [trial for setting in self.settings for trial in setting.trials]

    def count(self, state: State) -> int:
        """The number of trials in a state."""
        return sum(trial.state == state for trial in self.trials)

    def to_json(self) -> dict[str, object]:
        """The results as JSON values, with every trial. Test scores are those of the chosen setting only."""
        return {
            "description": self.description,
            "best_by": self.best_by,
            "is_lower_better": self.is_lower_better,
            "confidence": CONFIDENCE,
            "num_finished": self.count("finished"),
            "num_failed": self.count("failed"),
            "num_unfinished": self.count("unfinished"),
            "settings": [_setting_to_json(setting) for setting in self.settings],
            "chosen": None if self.chosen is None else dict(self.chosen.values),
            "test": {name: asdict(mean) for name, mean in self.test.items()},
            "notices": list(self.notices),
        }


def sweep_results(folder: Path | str) -> SweepResults:
    """The results in the folder of a sweep, also of one that has not ended.

    Raises `RequestError` where there is no sweep, and `RunError` where a file of a run cannot be read.
    """
    place = SweepFolder(Path(folder))
    record = place.read()
    trials = [_trial_result(place, trial) for trial in record.trials]
    places = tuple(dict.fromkeys(place for trial in record.trials for place in trial.setting))
    settings = _ranked(_settings(trials, places), record)
    chosen = settings[0] if settings and settings[0].rank == 1 else None
    is_over = record.is_whole and all(trial.state != "unfinished" for trial in trials)
    labels = short_places(places)
    return SweepResults(
        folder=place.path,
        best_by=record.best_by,
        is_lower_better=record.is_lower_better,
        places=places,
        columns=tuple(labels[each] for each in places),
        settings=tuple(settings),
        chosen=chosen,
        test=_means([trial.test for trial in chosen.trials]) if chosen and is_over else {},
        notices=tuple(_notices(settings, is_over=is_over)),
        description=record.description,
    )


def _settings(trials: Sequence[TrialResult], places: Sequence[str]) -> list[SettingResult]:
    groups: dict[str, list[TrialResult]] = {}
    for each in trials:
        groups.setdefault(json.dumps(each.trial.setting, sort_keys=True), []).append(each)
    used = {place: [each.trial.setting[place] for each in trials if place in each.trial.setting] for place in places}
    return [_setting(group, used) for group in groups.values()]


def _setting(trials: Sequence[TrialResult], used: Mapping[str, Sequence[JsonValue]]) -> SettingResult:
    values, finished = trials[0].trial.setting, [each for each in trials if each.state == "finished"]
    labels = tuple(value_label(values[place], others) if place in values else "" for place, others in used.items())
    scores = [each.score for each in finished if each.score is not None]
    score = Mean.of(scores) if scores and len(scores) == len(finished) else None
    return SettingResult(values, labels, tuple(trials), score, _means([each.val for each in finished]))


def _means(scores: Sequence[Mapping[str, float] | None]) -> dict[str, Mean]:
    """The mean of each score that all have."""
    present = [each for each in scores if each is not None]
    names = present[0] if present and len(present) == len(scores) else {}
    return {name: Mean.of([each[name] for each in present]) for name in names if all(name in each for each in present)}


def _ranked(settings: Sequence[SettingResult], record: SweepRecord) -> list[SettingResult]:
    """The settings, the best one first. A score that is no number comes after all others."""
    sign = 1 if record.is_lower_better else -1

    def key(setting: SettingResult) -> float:
        assert setting.score is not None
        return math.inf if math.isnan(setting.score.mean) else sign * setting.score.mean

    whole = [each for each in settings if each.score is not None and len(each.finished) == len(each.trials)]
    others = [each for each in settings if each not in whole]
    ranked = [_with_rank(each, rank) for rank, each in enumerate(sorted(whole, key=key), start=1)]
    return [*ranked, *others]


def _with_rank(setting: SettingResult, rank: int) -> SettingResult:
    assert setting.score is not None
    if math.isnan(setting.score.mean):
        return setting
    return SettingResult(setting.values, setting.labels, setting.trials, setting.score, setting.val, rank)


def _notices(settings: Sequence[SettingResult], *, is_over: bool) -> list[str]:
    notices = []
    trials = [trial for setting in settings for trial in setting.trials]
    if not is_over:
        num = sum(trial.state == "unfinished" for trial in trials)
        left = "1 trial is" if num == 1 else f"{num} trials are"
        notices.append(f"The sweep has not ended: {left} not finished. Test scores are shown at its end.")
    if any(len(each.trials) == 1 and each.rank for each in settings):
        notices.append("One seed a setting: differences may come from the seed. More seeds give intervals.")
    if any(trial.state == "finished" and trial.score is None for trial in trials):
        notices.append("The data set has no val split, so the settings have no rank: the test split must not choose.")
    if differing := _differing_facts([trial.run_dir for trial in trials if trial.state == "finished"]):
        notices.append(
            f"The val scores are not comparable: the runs differ in {', '.join(differing)} of the val split."
        )
    if any(each.score is not None and math.isnan(each.score.mean) for each in settings):
        notices.append("A setting whose score is no number has no rank.")
    return notices


def _differing_facts(run_dirs: Sequence[Path]) -> list[str]:
    """The facts about the val split and its metrics in which the runs differ."""
    facts = ("data", "num_unreadable", "metrics")
    signatures = [read_object(run_dir / "scores" / "val.json").get("signature", {}) for run_dir in run_dirs]
    return [fact for fact in facts if any(each.get(fact) != signatures[0].get(fact) for each in signatures)]


def _trial_result(folder: SweepFolder, trial: Trial) -> TrialResult:
    run_dir, state = folder.run_dir(trial), folder.state(trial)
    error = folder.error(trial) if state == "failed" else ""
    if state != "finished":
        return TrialResult(trial, state, error, run_dir)
    counts = folder.environment(trial).get("parameters", {})
    try:
        return TrialResult(
            trial,
            state,
            error,
            run_dir,
            score=read_object(run_dir / BEST_FILE).get("score"),
            val=read_object(run_dir / "scores" / "val.json").get("scores"),
            test=read_object(run_dir / "scores" / "test.json").get("scores"),
            num_trained=counts.get("trained"),
            num_parameters=counts.get("total"),
            seconds=_seconds(run_dir / "log.jsonl"),
        )
    except (OSError, ValueError) as err:
        what, fix = f"the results of this run cannot be read: {err}.", "Delete this folder and run the sweep again."
        raise RunError(what, where=str(run_dir), fix=fix) from err


def _seconds(log: Path) -> float:
    """The time of all calls of a run, each from its first event to its last, without the calls that did nothing."""
    calls: list[list[dict[str, Any]]] = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        try:
            event = json.loads(line)
        except ValueError:  # a line that a kill left incomplete
            continue
        if event["event"] == "run_started":
            calls.append([])
        if calls:
            calls[-1].append(event)
    worked = [call for call in calls if any(event["event"] in _WORK for event in call)]
    return round(sum(float(call[-1]["time"]) - float(call[0]["time"]) for call in worked), 3)


def _setting_to_json(setting: SettingResult) -> dict[str, object]:
    return {
        "rank": setting.rank,
        "setting": dict(setting.values),
        "score": None if setting.score is None else asdict(setting.score),
        "val": {name: asdict(mean) for name, mean in setting.val.items()},
        "num_trained": setting.mean_of("num_trained"),
        "num_parameters": setting.mean_of("num_parameters"),
        "seconds": setting.mean_of("seconds"),
        "trials": [_trial_to_json(trial) for trial in setting.trials],
    }


def _trial_to_json(result: TrialResult) -> dict[str, object]:
    return {
        "name": result.trial.name,
        "seed": result.trial.seed,
        "state": result.state,
        "error": result.error or None,
        "run_dir": str(result.run_dir),
        "score": result.score,
        "val": None if result.val is None else dict(result.val),
        "num_trained": result.num_trained,
        "num_parameters": result.num_parameters,
        "seconds": result.seconds,
    }
