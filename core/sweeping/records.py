"""The folder of a sweep: its files, its trials, and the state of each, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout
from pydantic import JsonValue

from ..engine.atomic import write_json, write_text
from ..errors import RequestError
from ..spec.provenance import ENVIRONMENT

State: TypeAlias = Literal["finished", "failed", "unfinished"]
FORMAT = 1


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: the values of its setting by JSON pointer, and its seed."""

    name: str
    setting: Mapping[str, JsonValue]
    seed: int


@dataclass(frozen=True)
class SweepRecord:
    """The facts about a sweep from which its table is made, without the plugins. `is_whole`: no trial will be added."""

    trials: Sequence[Trial]
    best_by: str
    is_lower_better: bool
    description: str = ""
    is_whole: bool = True


class SweepFolder:
    """Paths and records of one sweep. Each trial has its files under its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.features = path / "features"
        self.database = path / "optuna.db"
        self.lock = FileLock(path / ".lock", timeout=0)

    def spec_file(self, trial: Trial) -> Path:
        """The resolved spec of a trial."""
        return self.path / "specs" / f"{trial.name}.json"

    def run_dir(self, trial: Trial) -> Path:
        """The run directory of a trial."""
        return run_dir_of(self.path, trial.name)

    def log(self, trial: Trial) -> Path:
        """The output of a trial's process, over all calls."""
        return self.path / "logs" / f"{trial.name}.log"

    def _failure(self, trial: Trial) -> Path:
        return self.path / "failed" / f"{trial.name}.txt"

    def write(self, record: SweepRecord) -> None:
        """Writes the trials."""
        write_json(self.path / "trials.json", {"format": FORMAT, **asdict(record)})

    def read(self) -> SweepRecord:
        """The trials. Raises `RequestError` where there is no sweep, or where it cannot be read."""
        file = self.path / "trials.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content.pop("format") != FORMAT:
                raise ValueError("another version of capfw wrote it")
            trials = [Trial(**trial) for trial in content.pop("trials")]
            return SweepRecord(trials, **content)
        except FileNotFoundError as err:
            what, fix = "this is not the folder of a sweep: it has no trials.json.", "Name /folder of a sweep file."
            raise RequestError(what, where=str(self.path), fix=fix) from err
        except (OSError, ValueError, KeyError, TypeError) as err:
            what, fix = f"the trials cannot be read: {err}.", "Run the sweep again, which writes this file."
            raise RequestError(what, where=str(file), fix=fix) from err

    def state(self, trial: Trial) -> State:
        """The state of a trial. One that runs now is unfinished."""
        known = self.environment(trial)
        data = known.get("data")
        is_scored = known.get("finished_at") is not None
        has_final_split = isinstance(data, dict) and bool({"val", "test"} & set(data))
        if known.get("is_trained") and (is_scored or (data is not None and not has_final_split)):
            return "finished"
        return "failed" if self._failure(trial).is_file() else "unfinished"

    def error(self, trial: Trial) -> str:
        """The error of a failed trial."""
        return self._failure(trial).read_text(encoding="utf-8") if self._failure(trial).is_file() else ""

    def mark_failed(self, trial: Trial, error: str) -> None:
        """Records the error of a trial."""
        write_text(self._failure(trial), error)

    def forget_failure(self, trial: Trial) -> None:
        """Removes the error of an earlier call."""
        self._failure(trial).unlink(missing_ok=True)

    def environment(self, trial: Trial) -> dict[str, Any]:
        """The facts that the run of a trial recorded; empty before it began."""
        return read_object(self.run_dir(trial) / ENVIRONMENT)

    def is_in_use(self, trial: Trial) -> bool:
        """Whether a process holds the lock of the run directory, such as one that a killed sweep left behind."""
        lock = self.run_dir(trial) / ".lock"
        if not lock.is_file():
            return False
        try:
            with FileLock(lock, timeout=0):
                return False
        except Timeout:
            return True


def run_dir_of(folder: Path, name: str) -> Path:
    """The run directory of the trial of this name."""
    return folder / "runs" / name


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
