"""The Transformer mapper's network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ....core.protocols import ComponentError, FeatureShape
from ...libraries.clipcap import NOTEBOOKS, TRANSFORMER, renamed
from . import TransformerConfig


class TransformerMapper(nn.Module):
    """Maps features (B, N, D) float32 to a prefix (B, P, E) float32.

    A pooled embedding (N = 1) is unfolded by one linear map into `num_image_tokens` tokens of width E; patch tokens are
    projected to E one by one. The learned prefix queries (P, E) stand after them, and the prefix is read at their
    places, without a final norm. ClipCap (Mokady et al., 2021), section 3.2, with pre-norm layers of `torch.nn`.

    Raises `ComponentError` for options that do not fit E or the features.
    """

    def __init__(self, config: TransformerConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        _check(config, features, embed_dim)
        is_pooled = features.num_tokens == 1
        self.prefix_length, self.embed_dim = config.prefix_length, embed_dim
        self.num_image_tokens = (config.num_image_tokens or config.prefix_length) if is_pooled else features.num_tokens
        self.project = nn.Linear(features.dim, (self.num_image_tokens if is_pooled else 1) * embed_dim)
        self.prefix_queries = nn.Parameter(torch.randn(config.prefix_length, embed_dim))
        self.positions = (
            nn.Parameter(0.02 * torch.randn(features.num_tokens, embed_dim)) if config.position_embeddings else None
        )
        # Not nn.TransformerEncoder: it copies one layer, so that all of them would start with the same weights.
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    embed_dim,
                    config.num_heads,
                    dim_feedforward=int(embed_dim * config.mlp_ratio),
                    dropout=config.dropout,
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(config.num_layers)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.project(features).view(len(features), self.num_image_tokens, self.embed_dim)  # (B, tokens, E)
        if self.positions is not None:
            tokens = tokens + self.positions
        queries = self.prefix_queries.expand(len(features), -1, -1)  # (B, P, E)
        read = self.layers(torch.cat([tokens, queries], dim=1))  # (B, tokens + P, E)
        return read[:, self.num_image_tokens :]  # (B, P, E)

    @staticmethod
    def foreign_names(names: Iterable[str]) -> dict[str, str | None]:
        """Names of this mapper's entries in a checkpoint of gpt2-image-captioning, and their names here."""
        return renamed(names, NOTEBOOKS, TRANSFORMER)


def _check(config: TransformerConfig, features: FeatureShape, embed_dim: int) -> None:
    if embed_dim % config.num_heads:
        divisors = [str(n) for n in range(1, embed_dim + 1) if embed_dim % n == 0]
        raise ComponentError(
            f"{config.num_heads} heads do not divide the decoder's width {embed_dim}.",
            option="num_heads",
            fix=f"Use one of {', '.join(divisors)}.",
        )
    if config.num_image_tokens is not None:
        features.require_pooled(needed_by="transformer with num_image_tokens")
    if config.position_embeddings and features.num_tokens == 1:
        raise ComponentError(
            "one pooled embedding has no positions.",
            option="position_embeddings",
            fix='Leave it out, or set /encoder/features to "tokens".',
        )
