"""The linear mapper's network."""

from __future__ import annotations

from torch import Tensor, nn

from ....core.protocols import FeatureShape
from . import LinearConfig


class LinearMapper(nn.Module):
    """Maps features (B, 1, D) float32 to a prefix (B, P, E) float32.

    Raises `IncompatibleComponents` when the encoder emits more than one token per image.
    """

    def __init__(self, config: LinearConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        features.require_pooled(needed_by="linear")
        self.prefix_length, self.embed_dim = config.prefix_length, embed_dim
        self.project = nn.Linear(features.dim, config.prefix_length * embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        flat = self.project(features[:, 0])  # (B, P * E)
        return flat.view(-1, self.prefix_length, self.embed_dim)  # (B, P, E)
