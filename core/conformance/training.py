"""Functions for the checks of mappers and decoders: a little training, gradients, saving and loading."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from ..engine.atomic import write_tensors
from ..engine.model import CaptioningModel
from ..protocols import Decoder, FeatureShape, Mapper
from .checks import require
from .subjects import EMBED_DIM, Subject


class _Nothing(nn.Module):
    """Stands for the part that is not checked."""


def as_trained(module: Any, seed: int = 3) -> None:
    """Changes every trainable parameter a little, as training does, so that gates leave their initial zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def require_gradients(module: nn.Module) -> None:
    """Requires a nonzero gradient on every trainable parameter, and none on frozen ones."""
    trainable = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    dead = [name for name, p in trainable if p.grad is None or not p.grad.any()]
    require(not dead, f"no gradient reaches {', '.join(dead[:3])}, which is trainable.")
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad and p.grad is not None]
    require(not frozen, f"gradients reach {', '.join(frozen[:3])}, which is frozen.")


def save_and_load(subject: Subject, trained: Any, fresh: Any) -> None:
    """Copies the state of one part into the other through a checkpoint: trainable parameters and buffers."""
    file = subject.folder("checkpoint") / "model.safetensors"
    source, target = (_model(subject, part) for part in (trained, fresh))
    try:
        write_tensors(file, source.saved_state())
    except (RuntimeError, ValueError) as err:  # safetensors: tensors that share memory
        require(False, f"its state cannot be saved: {err}")
    target.load_saved_state(file)


def fresh_seed(module: Any) -> int:
    """Another seed if a checkpoint holds all parameters; else the same, which sets frozen random parameters."""
    return 1 if all(p.requires_grad for p in module.parameters()) else 0


def _model(subject: Subject, part: Any) -> CaptioningModel:
    shape = FeatureShape(num_tokens=1, dim=EMBED_DIM)
    if subject.kind == "mapper":
        return CaptioningModel(part, cast("Decoder", _Nothing()), shape)
    return CaptioningModel(cast("Mapper", _Nothing()), part, shape)
