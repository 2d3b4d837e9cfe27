"""Checkpoints: `step-N/` folders and two small files, `last.json` and `best.json`, that say which of them to use.

A folder holds `weights.safetensors` (what is trained, and buffers), `optimizer.pt` (read with `weights_only=True`)
and `state.json`. Folders that are neither last nor best are deleted; a best one that is not the last keeps only its weights.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import RunError
from .atomic import write_aside, write_json, write_tensors
from .model import CaptioningModel


@dataclass(frozen=True)
class Position:
    """Where training stands: `step` optimizer steps are done, of which `step_in_epoch` in the current epoch."""

    step: int
    epoch: int
    step_in_epoch: int
    loss_sum: float = 0.0
    num_tokens: int = 0


@dataclass(frozen=True)
class Best:
    """The best checkpoint so far, and the last step whose weights were evaluated."""

    step: int
    score: float | None
    evaluated_step: int


class Checkpoints:
    """The checkpoints of one run directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _step_folder(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def weights(self, step: int) -> Path:
        """The weights file of a checkpoint."""
        return self._step_folder(step) / "weights.safetensors"

    def last(self) -> Position | None:
        """The newest checkpoint, or None."""
        pointer = self.folder / "last.json"
        return Position(**json.loads(pointer.read_text())) if pointer.is_file() else None

    def best(self) -> Best | None:
        """The best checkpoint, or None while nothing has been evaluated."""
        pointer = self.folder / "best.json"
        return Best(**json.loads(pointer.read_text())) if pointer.is_file() else None

    def save(self, position: Position, model: CaptioningModel, optimizer: Optimizer, scheduler: LRScheduler) -> None:
        """Writes the checkpoint of `position` and makes it the last."""
        whole = self._step_folder(position.step)
        if not whole.is_dir():
            aside = self.folder / f".step-{position.step}.part"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write_tensors(aside / "weights.safetensors", model.saved_state())
            state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
            write_aside(aside / "optimizer.pt", lambda path: torch.save(state, path))
            write_json(aside / "state.json", asdict(position))
            os.replace(aside, whole)
        write_json(self.folder / "last.json", asdict(position))
        self._prune()

    def adopt(self, model: CaptioningModel) -> None:
        """Writes weights that were not trained here: as step 0, and the best there is."""
        write_tensors(self.weights(0), model.saved_state())
        self.mark_best(Best(step=0, score=None, evaluated_step=0))

    def mark_best(self, best: Best) -> None:
        """Records an evaluation."""
        write_json(self.folder / "best.json", asdict(best))
        self._prune()

    def resume(self, model: CaptioningModel, optimizer: Optimizer, scheduler: LRScheduler) -> Position | None:
        """Restores the last checkpoint, or returns None when there is none."""
        position = self.last()
        if position is None:
            return None
        model.load_saved_state(self.weights(position.step))
        file = self._step_folder(position.step) / "optimizer.pt"
        try:
            # To the CPU first: loading straight to a full GPU is how resuming runs out of memory.
            state = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as err:
            raise RunError(
                f"the optimizer state cannot be read: {err}",
                where=str(file),
                fix=f"Restore the file, or delete {self.folder} to train again from the start.",
            ) from err
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        return position

    def _prune(self) -> None:
        last, best = self.last(), self.best()
        kept = {position.step for position in (last, best) if position is not None}
        for folder in self.folder.glob("step-*"):
            step = int(folder.name.removeprefix("step-"))
            if step not in kept:
                shutil.rmtree(folder)
            elif last is not None and step != last.step:
                (folder / "optimizer.pt").unlink(missing_ok=True)
