"""Optuna's search: it draws from the space, learns from the scores, continues, and counts no setting twice."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from capfw.core.errors import MissingLibrary, RunError, SpecError
from capfw.core.registry import Registry
from capfw.core.sweeping import load_sweep, plan_sweep
from capfw.core.sweeping.planning import PlannedTrial
from capfw.core.sweeping.records import SweepFolder
from capfw.core.sweeping.search import TpeSearch
from capfw.core.sweeping.sources import source_of

from .conftest import BASE, write_run

optuna = pytest.importorskip("optuna", reason="needs the extra capfw[optuna]")
Write = Callable[..., Path]
RATES = {"/train/lr": {"low": 1e-6, "high": 1.0, "log": True}}


def opened(file: Path) -> TpeSearch:
    sweep = load_sweep(file)
    source = source_of(sweep, Registry.discover())
    assert isinstance(source, TpeSearch)
    sweep.folder.mkdir(exist_ok=True)
    source.open(SweepFolder(sweep.folder))
    return source


def finish(source: TpeSearch, planned: PlannedTrial, score: float | None) -> None:
    write_run(planned.spec.run_dir, score)
    source.ended(planned, is_finished=True)


def distance(planned: PlannedTrial) -> float:
    """The distance of the rate from 1e-3, in powers of ten."""
    return abs(math.log10(planned.spec.train.lr) + 3)


def test_it_draws_ever_better_settings(write: Write) -> None:
    source, drawn = opened(write(space=RATES, search="tpe", num=40)), list[float]()
    while not source.is_exhausted:
        for planned in source.more(1):
            drawn.append(distance(planned))
            finish(source, planned, -distance(planned))
    assert len(drawn) == 40
    assert sorted(drawn[-20:])[10] < 0.75  # the median; that of random draws is 1.5


def test_a_setting_is_reported_once_all_its_seeds_have_finished(write: Write, tmp_path: Path) -> None:
    source = opened(write(space=RATES, search="tpe", num=2, seeds=[0, 1]))
    first, second = source.more(2)
    assert (first.trial.setting, first.trial.seed, second.trial.seed) == (second.trial.setting, 0, 1)
    finish(source, first, 0.2)
    [trial] = stored(tmp_path)
    assert trial.state.name == "RUNNING"
    finish(source, second, 0.6)
    [trial] = stored(tmp_path)
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.4)
    assert trial.params == first.trial.setting


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{folder / 'out/optuna.db'}"
    return optuna.load_study(study_name="sweep", storage=storage).get_trials()


def test_the_next_call_takes_up_what_was_stopped_or_failed_and_draws_others(write: Write) -> None:
    file = write(space=RATES, search="tpe", num=4)
    source = opened(file)
    done, failed, stopped = source.more(3)
    finish(source, done, 0.5)
    source.ended(failed, is_finished=False)

    again = opened(file)

    old = again.more(1)
    assert [each.trial for each in old] == [done.trial, failed.trial, stopped.trial]
    for planned in old:
        finish(again, planned, 0.5)
    [new] = again.more(3)
    assert again.is_exhausted
    assert new.trial.setting not in [each.trial.setting for each in old]
    assert [trial.name[:4] for trial in again.record().trials] == ["000_", "001_", "002_", "003_"]


def test_a_small_space_ends_the_search_and_no_setting_runs_twice(write: Write) -> None:
    space = {
        "/train/batch_size": [4, 8],
        "/mapper": [{"name": "transformer"}, {"name": "transformer", "num_layers": 1}],
    }
    source, settings = opened(write(space=space, search="tpe", num=9)), list[str]()
    while not source.is_exhausted:
        for planned in source.more(1):
            settings.append(json.dumps(planned.trial.setting))
            finish(source, planned, 0.5)
    assert len(settings) == len(set(settings)) == 4
    assert len(opened(write(space=space, search="tpe", num=9)).more(1)) == 4


def test_another_space_in_the_folder_is_refused(write: Write) -> None:
    opened(write(space=RATES, search="tpe", num=4))
    with pytest.raises(SpecError) as caught:
        opened(write(space={"/train/lr": {"low": 1e-6, "high": 0.5, "log": True}}, search="tpe", num=4))
    [problem] = caught.value.problems
    assert (problem.pointer, problem.fix) == ("/space", "Choose another /folder.")


def test_another_base_spec_in_the_folder_is_refused(write: Write) -> None:
    opened(write(space=RATES, search="tpe", num=4))
    with pytest.raises(SpecError) as caught:
        opened(write(base=BASE | {"decoder": {**BASE["decoder"], "width": 32}}, space=RATES, search="tpe", num=4))
    [problem] = caught.value.problems
    assert (problem.pointer, problem.fix) == ("/base", "Choose another /folder.")
    assert "/decoder/width" in problem.message


def test_both_ends_of_the_space_are_checked_before_a_run(write: Write) -> None:
    space = {"/train/lr": [0.1, -1], "/mapper/num_layers": {"low": 0, "high": 4, "integer": True}}
    with pytest.raises(SpecError) as caught:
        plan_sweep(load_sweep(write(space=space, search="tpe", num=4)))
    places = {problem.pointer for problem in caught.value.problems}
    assert places == {"/space/~1train~1lr/1", "/space/~1mapper~1num_layers"}


def test_without_a_val_split_there_is_no_score_to_follow(write: Write) -> None:
    source = opened(write(space=RATES, search="tpe", num=1))
    with pytest.raises(RunError, match="no val split"):
        finish(source, source.more(1)[0], None)


def test_without_optuna_the_install_command_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingLibrary) as caught:
        plan_sweep(load_sweep(write(space=RATES, search="tpe", num=1)))
    assert str(caught.value) == '/search: search "tpe" needs the library optuna.\n  pip install "capfw[optuna]"'


def test_a_sweep_with_a_search_runs_and_prints_its_table(write: Write, capfw: Callable[..., Result]) -> None:
    file = write(space=RATES, search="tpe", num=2)
    assert "2 settings of 1 trials each, chosen while the sweep runs" in capfw("sweep", file, "--dry-run").stdout
    done = capfw("sweep", file, "--json")
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert [setting["rank"] for setting in results["settings"]] == [1, 2]
    values = {setting["setting"]["/train/lr"]: setting["score"]["mean"] for setting in results["settings"]}
    assert values == {trial.params["/train/lr"]: trial.value for trial in stored(file.parent)}
    assert capfw("sweep", file).exit_code == 0  # nothing is left to do
    assert len(stored(file.parent)) == 2
