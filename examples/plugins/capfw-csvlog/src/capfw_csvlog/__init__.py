"""Writes the metrics of a run into metrics.csv in its run directory, with the hooks for the events of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from capfw.core.protocols import EpochEnded, Evaluated, RunEnded, RunStarted, StepEnded, hookimpl

COLUMNS = ("time", "event", "step", "epoch", "split", "name", "value")


class CsvLog:
    """Writes one value per line. Only the main process of a run calls the hooks, so there is one writer."""

    def __init__(self) -> None:
        self._file: Path | None = None  # the file of the current run

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Begins the file; a continued run adds to its own file."""
        self._file = event.run_dir / "metrics.csv"
        if not (event.is_resumed and self._file.is_file()):
            with self._file.open("w", newline="", encoding="utf-8") as table:
                csv.writer(table).writerow(COLUMNS)

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Writes the loss, each named loss, learning rate, gradient norm and speed of a step."""
        names = ("loss", "lr", "grad_norm", "captions_per_second")
        values = {name: getattr(event, name) for name in names}
        values |= {f"loss/{name}": value for name, value in event.losses.items()}
        self._write("step", values, step=event.step, epoch=event.epoch)

    @hookimpl
    def epoch_ended(self, event: EpochEnded) -> None:
        """Writes the losses of an epoch."""
        losses = {"train_loss": event.train_loss}
        if event.val_loss is not None:
            losses["val_loss"] = event.val_loss
        self._write("epoch", losses, epoch=event.epoch)

    @hookimpl
    def evaluated(self, event: Evaluated) -> None:
        """Writes the scores of a split."""
        self._write("evaluated", event.scores, step=event.step, split=event.split)

    @hookimpl
    def run_ended(self, event: RunEnded) -> None:
        """Writes the duration of the run."""
        self._write("run_ended", {"seconds": event.seconds})
        self._file = None

    def _write(
        self,
        event: str,
        values: Mapping[str, float],
        *,
        step: int | None = None,
        epoch: int | None = None,
        split: str = "",
    ) -> None:
        if self._file is None:  # `capfw evaluate` scores without starting a run
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._file.open("a", newline="", encoding="utf-8") as table:
            csv.writer(table).writerows([now, event, step, epoch, split, name, value] for name, value in values.items())


csv_log = CsvLog()
"""The object that the entry point names."""
