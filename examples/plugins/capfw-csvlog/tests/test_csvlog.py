"""The content of the file after a run, a continued run, and no run at all."""

import csv
from pathlib import Path

from capfw_csvlog import COLUMNS, CsvLog, csv_log

from capfw.core.protocols import EpochEnded, Evaluated, RunEnded, RunStarted, StepEnded
from capfw.core.registry import Registry


def step(number: int) -> StepEnded:
    losses = {"cross-entropy": 4.0, "reward": -0.5}
    return StepEnded(number, 2, 1, loss=3.5, lr=0.1, grad_norm=1.25, captions_per_second=100.0, losses=losses)


def rows(run_dir: Path) -> list[tuple[str, ...]]:
    """Header and rows, without the time."""
    with (run_dir / "metrics.csv").open(newline="", encoding="utf-8") as table:
        return [tuple(row[1:]) for row in csv.reader(table)]


def test_registry_takes_it_and_its_hooks_are_called(tmp_path: Path) -> None:
    registry = Registry([csv_log])
    [status] = registry.plugins
    assert (status.state, status.components) == ("ok", ())

    [(_, hooks)] = registry.hooks
    hooks.run_started(event=RunStarted(tmp_path, {}, is_resumed=False))

    assert rows(tmp_path) == [COLUMNS[1:]]


def test_file_holds_every_value_of_a_run(tmp_path: Path) -> None:
    log = CsvLog()
    log.run_started(RunStarted(tmp_path, {}, is_resumed=False))
    log.step_ended(step(1))
    log.epoch_ended(EpochEnded(1, 1, train_loss=3.0, val_loss=None))
    log.evaluated(Evaluated("val", 2, {"CIDEr": 0.5, "loss": 2.5}, is_best=True))
    log.run_ended(RunEnded(tmp_path, {"CIDEr": 0.5}, seconds=12.5))

    assert rows(tmp_path)[1:] == [
        ("step", "1", "1", "", "loss", "3.5"),
        ("step", "1", "1", "", "lr", "0.1"),
        ("step", "1", "1", "", "grad_norm", "1.25"),
        ("step", "1", "1", "", "captions_per_second", "100.0"),
        ("step", "1", "1", "", "loss/cross-entropy", "4.0"),
        ("step", "1", "1", "", "loss/reward", "-0.5"),
        ("epoch", "", "1", "", "train_loss", "3.0"),
        ("evaluated", "2", "", "val", "CIDEr", "0.5"),
        ("evaluated", "2", "", "val", "loss", "2.5"),
        ("run_ended", "", "", "", "seconds", "12.5"),
    ]


def test_continued_run_adds_and_a_new_run_begins_again(tmp_path: Path) -> None:
    for is_resumed in (False, True):
        log = CsvLog()  # as after a kill
        log.run_started(RunStarted(tmp_path, {}, is_resumed=is_resumed))
        log.step_ended(step(1))
    assert len(rows(tmp_path)) == 1 + 2 * 6

    log.run_started(RunStarted(tmp_path, {}, is_resumed=False))
    assert len(rows(tmp_path)) == 1


def test_nothing_is_written_outside_a_run(tmp_path: Path) -> None:
    log = CsvLog()
    log.evaluated(Evaluated("test", 2, {"CIDEr": 0.5}, is_best=True))
    log.run_started(RunStarted(tmp_path, {}, is_resumed=False))
    log.run_ended(RunEnded(tmp_path, {}, seconds=1.0))
    log.evaluated(Evaluated("test", 2, {"CIDEr": 0.5}, is_best=True))

    assert [row[0] for row in rows(tmp_path)] == ["event", "run_ended"]
