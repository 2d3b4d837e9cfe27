"""Scores of another program, which reads JSON lines and writes JSON: for metrics with requirements of their own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

from ....core.protocols import Component, InputFolder, MetricConfig, hookimpl


class CommandConfig(MetricConfig):
    """Options of metric "command"."""

    command: tuple[str, ...] = Field(
        min_length=1,
        description='Program and its arguments, one by one: ["python", "score.py"]. No shell reads them.',
    )
    scores: dict[str, Literal["higher", "lower"]] = Field(
        min_length=1,
        description="Every score that the program writes, and whether a higher or a lower value is better.",
    )
    folder: InputFolder | None = Field(
        None, description="Folder in which the program runs. Absent: the working directory of capfw."
    )
    images: bool = Field(False, description="Whether the program also reads the images. It gets their paths.")
    timeout_seconds: float = Field(3600.0, gt=0, description="Scoring fails after this many seconds.")
    version: str = Field("", description="Version of the program and of its model, for the signature of the scores.")

    def needs(self) -> tuple[str, ...]:
        """The images, if the program reads them."""
        return ("images",) if self.images else ()

    def score_names(self) -> tuple[str, ...]:
        """The names in `scores`."""
        return tuple(self.scores)

    def lower_is_better(self) -> tuple[str, ...]:
        """The scores whose value is "lower"."""
        return tuple(name for name, better in self.scores.items() if better == "lower")

    def programs(self) -> tuple[str, ...]:
        """The command."""
        return (shlex.join(self.command),)


_PROGRAM = '''"""The words of each candidate, counted."""
import json, sys

captions = [json.loads(line)["candidate"] for line in sys.stdin]
json.dump({"Words": [len(caption.split()) for caption in captions]}, sys.stdout)
'''


def _write_example(folder: Path) -> CommandConfig:
    """Writes a program that counts words."""
    (folder / "words.py").write_text(_PROGRAM, encoding="utf-8")
    return CommandConfig(command=(sys.executable, "words.py"), scores={"Words": "higher"}, folder=folder)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "command"."""
    return [
        Component(
            name="command",
            config=CommandConfig,
            target=f"{__name__}.model:Command",
            summary="Scores of any program that reads JSON lines and writes JSON.",
            example=CommandConfig(command=("python", "words.py"), scores={"Words": "higher"}),
            source="the program; its input and output are defined here",
            write_example=_write_example,
        )
    ]
