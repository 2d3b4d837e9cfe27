"""The task: model and objective in one module, which training wraps."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn

from ..errors import PluginError
from ..protocols import Batch, Loss, Objective
from .model import OBJECTIVE, CaptioningModel, read_state, require_same, saved_state


class Task(nn.Module):
    """Model and objective. One `forward(batch)` serves every combination of parts; sampling happens inside it."""

    def __init__(self, model: CaptioningModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, cast("nn.Module", objective)

    @property
    def as_objective(self) -> Objective:
        """The objective under its protocol."""
        return cast("Objective", self.objective)

    def forward(self, batch: Batch) -> dict[str, Loss]:
        """The losses of a batch by name: the mapper's own, and the objective's."""
        prefix, own = self.model.prefix_and_losses(batch)
        losses = self.as_objective(self.model, prefix, batch)
        if clash := own.keys() & losses.keys():
            raise PluginError(f"mapper and objective both return a loss {', '.join(sorted(clash))}.", where="/mapper")
        return {**own, **losses}

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
