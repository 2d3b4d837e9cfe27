"""Small timm models for the tests of encoder "timm"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from capfw.plugins.encoders.timm import TimmConfig
from capfw.plugins.encoders.timm.model import TimmEncoder

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


def build(**options: Any) -> TimmEncoder:
    return TimmEncoder(TimmConfig(**options))


def save(folder: Path, model: str, **options: Any) -> tuple[Path, torch.nn.Module]:
    """Saves a model with its classifier, as timm publishes them."""
    original = timm.create_model(model, **options).eval()
    save_file(original.state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors", original
