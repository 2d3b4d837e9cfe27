"""Records runs with Weights & Biases."""

from __future__ import annotations

import io
import os
import shlex
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from ....core.protocols import (
    CaptionedImage,
    CaptionedSplit,
    ComponentError,
    LoggedRun,
    examples_table,
    optional_library,
)
from . import WandbConfig

_ID_FILE = "id.txt"
_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")


class WandbLogger:
    """Sends values, examples with images, and the table of the final split to Weights & Biases.

    Raises `MissingLibrary` without wandb, and `ComponentError` online without an API key: wandb would ask for it on the
    terminal in the middle of a run.
    """

    def __init__(self, config: WandbConfig) -> None:
        self._config = config
        # wandb's reports about itself would hold the end of Python for ten seconds where the server is dead.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._wandb = optional_library("wandb", needed_by="logger wandb", install='pip install "capfw[wandb]"')
        # `login` would wait for a dead server, but only where there is a key.
        if config.mode == "online" and not _has_key() and not self._wandb.login(prompt=False, verify=False):
            raise ComponentError(
                "Weights & Biases has no API key on this machine.",
                option="mode",
                fix='Run `wandb login`, set WANDB_API_KEY, or set this option to "offline".',
            )
        self._made: Any = None

    def start(self, run: LoggedRun) -> str:
        seconds = self._config.finish_seconds
        settings = self._wandb.Settings(
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            init_timeout=max(1.0, seconds),  # Python's end waits for it, whatever the run does
            finish_timeout=max(1.0, seconds),
            finish_timeout_raises=True,
        )
        self._made = self._wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            name=run.name,
            id=_identity(run),
            resume="allow",
            dir=str(run.folder),
            config=dict(run.spec),
            mode=self._config.mode,
            reinit="create_new",  # several runs in one process, as in a sweep
            settings=settings,
        )
        self._made.define_metric("*", step_metric="step")
        if self._config.mode == "online":
            return f"see {self._made.url}"
        return f"send the record with: wandb sync {shlex.quote(str(run.folder / 'wandb'))}/offline-run-*"

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._made.log({**values, "step": step})

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        pictures = []
        for each in examples:
            if (jpeg := each.thumbnail()) is not None:
                caption = "\n".join([each.caption, *(f"- {text}" for text in each.references)])
                pictures.append(self._wandb.Image(Image.open(io.BytesIO(jpeg)), caption=caption))
        columns, rows = examples_table(examples)
        table = self._wandb.Table(columns=columns, data=rows)
        shown = {f"{split}/images": pictures} if pictures else {}
        self._made.log({**shown, f"{split}/examples": table, "step": step})

    def log_results(self, results: CaptionedSplit) -> None:
        columns, rows = results.table()
        table = self._wandb.Table(columns=columns, data=rows)
        self._made.log({f"{results.split}/results": table, "step": results.step})
        self._made.summary.update({f"{results.split}/{name}": value for name, value in results.scores.items()})

    def finish(self, *, is_complete: bool) -> None:
        self._made.finish(exit_code=0 if is_complete else 1)


def _has_key() -> bool:
    """Whether an environment variable has the key, or the file in which `wandb login` keeps it."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    is_kept = file.is_file() and str(host) in file.read_text(encoding="utf-8", errors="replace")
    return is_kept or any(os.environ.get(name) for name in _KEYS)


def _identity(run: LoggedRun) -> str:
    """The id of the record: a new one, or that of the run that continues."""
    file = run.folder / _ID_FILE
    if run.is_resumed and file.is_file():
        return file.read_text(encoding="utf-8")
    identity = uuid.uuid4().hex[:12]
    file.write_text(identity, encoding="utf-8")
    return identity
