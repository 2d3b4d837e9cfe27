"""The MLP mapper's network."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from ....core.protocols import FeatureShape
from ...libraries.clipcap import CLIPCAP, MLP, NOTEBOOKS, renamed
from . import MlpConfig


class MlpMapper(nn.Module):
    """Maps features (B, 1, D) float32 to a prefix (B, P, E) float32; the hidden layer is half as wide as the output.

    ClipCap (Mokady et al., 2021), section 3.2.

    Raises `IncompatibleComponents` when the encoder emits more than one token per image.
    """

    def __init__(self, config: MlpConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        features.require_pooled(needed_by="mlp")
        self.prefix_length, self.embed_dim = config.prefix_length, embed_dim
        width = config.prefix_length * embed_dim
        self.layers = nn.Sequential(nn.Linear(features.dim, width // 2), nn.Tanh(), nn.Linear(width // 2, width))

    def forward(self, features: Tensor) -> Tensor:
        flat = self.layers(features[:, 0])  # (B, P * E)
        return flat.view(-1, self.prefix_length, self.embed_dim)  # (B, P, E)

    @staticmethod
    def foreign_names(names: Iterable[str]) -> dict[str, str | None]:
        """Maps the names of this mapper's entries in a checkpoint of ClipCap or gpt2-image-captioning to those here."""
        names = list(names)
        return {**renamed(names, CLIPCAP, MLP), **renamed(names, NOTEBOOKS, MLP)}
