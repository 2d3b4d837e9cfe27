"""Writes event files for TensorBoard."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ....core.protocols import CaptionedImage, CaptionedSplit, LoggedRun, examples_table, optional_library
from . import TensorBoardConfig

_MOST_ROWS = 200  # the page of TensorBoard shows a table as a whole
_FLUSH_SECONDS = 10


class TensorBoardLogger:
    """Writes scalars, images with their captions, and a table of the final split. Raises `MissingLibrary`."""

    def __init__(self, config: TensorBoardConfig) -> None:
        module = optional_library(
            "torch.utils.tensorboard", needed_by="logger tensorboard", install='pip install "capfw[tensorboard]"'
        )
        self._make_writer = module.SummaryWriter
        self._made: Any = None

    def start(self, run: LoggedRun) -> str:
        self._run = run
        return f"see it with: tensorboard --logdir {shlex.quote(str(run.run_dir.parent))}"

    def _writer(self, step: int) -> Any:
        """The writer, made at the first record. A continued run discards what was written from this step on."""
        if self._made is None:
            purged = step if self._run.is_resumed else None
            self._made = self._make_writer(str(self._run.folder), purge_step=purged, flush_secs=_FLUSH_SECONDS)
        return self._made

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        writer = self._writer(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        writer = self._writer(step)
        for each in examples:
            if (jpeg := each.thumbnail()) is not None:
                pixels = np.asarray(Image.open(io.BytesIO(jpeg)))
                writer.add_image(f"{split}/{each.image_id}", pixels, step, dataformats="HWC")
        writer.add_text(f"{split}/examples", _markdown(*examples_table(examples)), step)

    def log_results(self, results: CaptionedSplit) -> None:
        columns, rows = results.table()
        shown = rows[:_MOST_ROWS]
        rest = "" if len(shown) == len(rows) else f"\n\nThe first {len(shown)} of {len(rows)} images."
        writer = self._writer(results.step)
        writer.add_text(f"{results.split}/results", _markdown(columns, shown) + rest, results.step)

    def finish(self, *, is_complete: bool) -> None:
        if self._made is not None:
            self._made.close()


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    """A value as text that Markdown shows as it is."""
    if isinstance(value, float):
        return f"{value:.4f}"
    text = "" if value is None else str(value)
    for sign in "\\`*_|<>[]":
        text = text.replace(sign, f"\\{sign}")
    return "<br>".join(text.splitlines())
