"""The run's log: one JSON object per line, appended."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from pathlib import Path

from ...protocols import EpochEnded, Evaluated, Notice, Progress, RunEnded, RunStarted, StepEnded, hookimpl
from .observers import Event

_ELSEWHERE = frozenset({"spec", "results"})  # spec.json, candidates/ and scores/ hold them


class JsonLog:
    """Writes every event to `file`, but only the end of progress. A continued run repeats steps; the later line counts."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _write(self, name: str, event: Event) -> None:
        line = {"event": name, "time": round(time.time(), 3)}
        line |= {each.name: getattr(event, each.name) for each in fields(event) if each.name not in _ELSEWHERE}
        if isinstance(event, Evaluated):
            line["examples"] = [
                {"image_id": each.image_id, "caption": each.caption, "references": each.references}
                for each in event.examples
            ]
        with self._file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Logs the start."""
        self._write("run_started", event)

    @hookimpl
    def progressed(self, event: Progress) -> None:
        """Logs the end of a stage."""
        if event.done >= event.total:
            self._write("stage_ended", event)

    @hookimpl
    def noticed(self, event: Notice) -> None:
        """Logs a notice."""
        self._write("notice", event)

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Logs a step."""
        self._write("step", event)

    @hookimpl
    def epoch_ended(self, event: EpochEnded) -> None:
        """Logs an epoch."""
        self._write("epoch", event)

    @hookimpl
    def evaluated(self, event: Evaluated) -> None:
        """Logs scores."""
        self._write("evaluated", event)

    @hookimpl
    def run_ended(self, event: RunEnded) -> None:
        """Logs the end."""
        self._write("run_ended", event)
