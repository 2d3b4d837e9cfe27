"""Options of the metrics that compare captions with a CLIP model. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ...core.protocols import MetricConfig, Weights, is_local_path
from .clip_architectures import TwoTowers

TINY_TOWERS = TwoTowers(
    embed_dim=8,
    vision_cfg={"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8},
    text_cfg={"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
)
"""The smallest architecture that reads CLIP's own tokens, for examples."""


class ClipOptions(MetricConfig):
    """A CLIP model with its weights, and how captions are given to it. The metric needs the images."""

    default_model: ClassVar[str] = "ViT-B-32"

    model: str | TwoTowers | None = Field(
        None,
        description='open_clip architecture, or a written-out one. Absent: that of a folder of weights, else "ViT-B-32".',
    )
    weights: Weights = Field(
        "openai",
        description="Pretrained tag of open_clip (\"openai\" is the paper's), a local file saved by open_clip, OpenAI's "
        'own archive, a folder saved by transformers\' CLIPModel or by open_clip, or "random". For any other file of '
        'OpenAI weights, name the model with "-quickgelu".',
    )
    prompt: str = Field("A photo depicts ", description="Text before every caption.")
    batch_size: int = Field(64, ge=1, description="Images, or captions, per forward pass.")

    def needs(self) -> tuple[str, ...]:
        """The images."""
        return ("images",)

    def architecture(self) -> str | dict[str, object] | None:
        """The architecture: the option, or that of a folder (None), or the usual one."""
        if isinstance(self.model, TwoTowers):
            return self.model.model_dump()
        is_folder = is_local_path(self.weights) and Path(self.weights).is_dir()
        return self.model or (None if is_folder else self.default_model)
