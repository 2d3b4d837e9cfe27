"""Records runs with trackio."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from ....core.protocols import CaptionedImage, CaptionedSplit, LoggedRun, examples_table, optional_library
from . import TrackioConfig


class TrackioLogger:
    """Records values, examples with images, and the table of the final split. Raises `MissingLibrary`."""

    def __init__(self, config: TrackioConfig) -> None:
        self._config = config
        self._trackio = optional_library("trackio", needed_by="logger trackio", install='pip install "capfw[trackio]"')
        self._made: Any = None

    def start(self, run: LoggedRun) -> str:
        self._made = self._trackio.init(
            project=self._config.project,
            name=run.name,
            server_url=self._config.server_url,
            config=dict(run.spec),
            resume="allow" if run.is_resumed else "never",
            embed=False,
            auto_log_cpu=False,
        )
        if self._config.server_url is not None:
            server = self._config.server_url.partition("?")[0]  # without the token
            return f"project {self._config.project} on {server}"
        return f"see it with: trackio show --project {shlex.quote(self._config.project)}"

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._made.log(dict(values), step=step)

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        pictures = {}
        for number, each in enumerate(examples):
            if (jpeg := each.thumbnail()) is not None:
                picture = Image.open(io.BytesIO(jpeg))
                pictures[f"{split}/example_{number}"] = self._trackio.Image(picture, caption=each.caption)
        columns, rows = examples_table(examples)
        table = self._trackio.Table(columns=columns, data=rows)
        self._made.log({**pictures, f"{split}/examples": table}, step=step)

    def log_results(self, results: CaptionedSplit) -> None:
        columns, rows = results.table()
        table = self._trackio.Table(columns=columns, data=rows)
        self._made.log({f"{results.split}/results": table}, step=results.step)

    def finish(self, *, is_complete: bool) -> None:
        self._made.finish()
