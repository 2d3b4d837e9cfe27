"""The task: model and objective in one module, which training wraps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import PluginError
from ..protocols import Batch, Loss, Objective
from .model import OBJECTIVE, CaptioningModel, read_state, require_same, saved_state


class Task(nn.Module):
    """Model and objective. One `forward(batch)` serves every combination of parts; sampling happens inside it."""

    def __init__(self, model: CaptioningModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, cast("nn.Module", objective)
        self._names: set[str] | None = None  # of the losses, once they are known

    @property
    def as_objective(self) -> Objective:
        """The objective under its protocol."""
        return cast("Objective", self.objective)

    def forward(self, batch: Batch) -> dict[str, Loss]:
        """The losses of a batch by name: the mapper's own, and the objective's."""
        prefix, own = self.model.prefix_and_losses(batch)
        losses = self.as_objective(self.model, prefix, batch)
        if not isinstance(losses, Mapping):
            what = f"the objective returned a {type(losses).__name__}, not losses by name."
            raise PluginError(what, where="/train/objective", fix="Return a dict of Loss.")
        if clash := own.keys() & losses.keys():
            what = f"mapper and objective both return a loss {', '.join(sorted(clash))}."
            raise PluginError(what, where="/mapper", fix="Rename the mapper's loss, or use another objective.")
        self._check({**own, **losses})
        return {**own, **losses}

    def _check(self, losses: Mapping[str, Loss]) -> None:
        """Raises `PluginError` for losses that cannot be minimised, or not be summed over the batches of a step."""
        problem = None
        if self._names is not None and self._names != losses.keys():
            before, now = (", ".join(sorted(names)) or "none" for names in (self._names, losses.keys()))
            problem = f"the objective returned the losses {before} for one batch and {now} for another."
        elif not any(loss.weight for loss in losses.values()):
            problem = "the objective returned no loss with a weight other than 0, so that nothing is minimised."
        elif torch.is_grad_enabled() and not any(loss.weight and loss.sum.requires_grad for loss in losses.values()):
            problem = "no loss depends on what is trained, so that there is no gradient."
        if problem is not None:
            fix = "The objective is at fault: `capfw plugins check objective/NAME` checks it."
            raise PluginError(problem, where="/train/objective", fix=fix)
        self._names = set(losses)

    def saved_state(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint: the saved state of the model, and the objective's trained weights."""
        own = {f"{OBJECTIVE}{name}": value for name, value in saved_state(self.objective).items()}
        return {**self.model.saved_state(), **own}

    def load_saved_state(self, file: Path) -> None:
        """Loads the weights of a checkpoint, with the objective's. Raises `BadCheckpoint` when they do not fit."""
        found = read_state(file)
        require_same(self.saved_state(), found, file)
        self.model.load_state_dict({n: v for n, v in found.items() if not n.startswith(OBJECTIVE)}, strict=False)
        own = {n.removeprefix(OBJECTIVE): v for n, v in found.items() if n.startswith(OBJECTIVE)}
        self.objective.load_state_dict(own, strict=False)
