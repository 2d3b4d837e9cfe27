"""Checkpoints: `step-N/` folders and two small files, `last.json` and `best.json`, that name one of them each.

A folder holds `weights.safetensors` (trained parameters and buffers), `optimizer.pt` (read with `weights_only=True`)
and `state.json`. Folders that are neither last nor best are deleted. The best folder keeps no optimizer state unless it
is also the last.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import RunError
from .atomic import write_aside, write_json, write_tensors
from .task import Task


@dataclass(frozen=True)
class Position:
    """The progress of training: `step` optimizer steps are done, `step_in_epoch` of them in the current epoch.

    `loss_sum` and `num_tokens` count the steps of this epoch whose losses were read from the device.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    num_tokens: int = 0

    def after_a_step(self) -> Position:
        """The position after one more optimizer step."""
        return replace(self, step=self.step + 1, step_in_epoch=self.step_in_epoch + 1)

    def with_losses(self, loss_sum: float, num_tokens: int) -> Position:
        """The same position with the losses of some steps added."""
        return replace(self, loss_sum=self.loss_sum + loss_sum, num_tokens=self.num_tokens + num_tokens)

    def at_next_epoch(self) -> Position:
        """The beginning of the next epoch, after this one is trained, evaluated and reported."""
        return Position(step=self.step, epoch=self.epoch + 1)


@dataclass(frozen=True)
class Best:
    """The best checkpoint so far, and the last step whose weights were evaluated.

    `score` is its value of `/train/best_by`, None where the step was not scored.
    """

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

    def save(self, position: Position, task: Task, optimizer: Optimizer, scheduler: LambdaLR) -> None:
        """Writes the checkpoint of `position` and makes it the last."""
        whole = self._step_folder(position.step)
        if not whole.is_dir():
            aside = self.folder / f".step-{position.step}.part"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write_tensors(aside / "weights.safetensors", task.saved_state())
            state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
            write_aside(aside / "optimizer.pt", lambda path: torch.save(state, path))
            write_json(aside / "state.json", asdict(position))
            os.replace(aside, whole)
        self.move_to(position)
        self._prune()

    def move_to(self, position: Position) -> None:
        """Records that training has reached `position`, with the weights of the last checkpoint."""
        write_json(self.folder / "last.json", asdict(position))

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Writes weights that were trained elsewhere, as step 0, and marks them as the best."""
        write_tensors(self.weights(0), state)
        self.mark_best(Best(step=0, score=None, evaluated_step=0))

    def mark_best(self, best: Best) -> None:
        """Records an evaluation."""
        write_json(self.folder / "best.json", asdict(best))
        self._prune()

    def resume(self, task: Task, optimizer: Optimizer, scheduler: LambdaLR) -> Position:
        """Restores the last checkpoint; without one, training starts from the beginning."""
        position = self.last()
        if position is None:
            return Position()
        task.load_saved_state(self.weights(position.step))
        file = self._step_folder(position.step) / "optimizer.pt"
        try:
            # To the CPU first: loading directly to a full GPU can run out of memory.
            state = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as err:
            raise RunError(
                f"the optimizer state cannot be read: {err}",
                where=str(file),
                fix=f"Restore the file, or delete {self.folder} to train again from the start.",
            ) from err
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        _set_rates(optimizer, scheduler)
        return position

    def require_last(self) -> None:
        """Raises `RunError` when training has begun in this directory but its last checkpoint is missing."""
        if self.last() is None and self.best() is not None:
            raise RunError(
                "last.json is missing although best.json exists: training cannot continue from its last checkpoint.",
                where=str(self.folder),
                fix=f"Restore the file from a copy, or delete {self.folder} to train again from the start.",
            )

    def _prune(self) -> None:
        last, best = self.last(), self.best()
        kept = {position.step for position in (last, best) if position is not None}
        for folder in self.folder.glob("step-*"):
            step = int(folder.name.removeprefix("step-"))
            if step not in kept:
                shutil.rmtree(folder)
            elif last is not None and step != last.step:
                (folder / "optimizer.pt").unlink(missing_ok=True)


def _set_rates(optimizer: Optimizer, scheduler: LambdaLR) -> None:
    """Sets the rates of the schedule at hand: those in the checkpoint are of the old one where /train/epochs was raised."""
    for group, base, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * factor(scheduler.last_epoch)
