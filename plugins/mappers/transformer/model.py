"""The Transformer mapper's network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ....core.protocols import ComponentError, FeatureShape
from ...libraries.attention import require_fitting_heads
from ...libraries.clipcap import NOTEBOOKS, TRANSFORMER, renamed
from . import TransformerConfig


class TransformerMapper(nn.Module):
    """Maps features (B, N, D) float32 to a prefix (B, P, E) float32.

    One linear map unfolds a pooled embedding (N = 1) into `num_image_tokens` tokens of width E, or projects each patch
    token to E. The learned prefix queries (P, E) follow the tokens. The prefix is the output at the queries, without a
    final norm. ClipCap (Mokady et al., 2021), section 3.2, with pre-norm layers of `torch.nn`.

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
        # As large as the queries: at 0.02, the size usual in language models, they drown in the tokens and are learned late.
        self.positions = (
            nn.Parameter(torch.randn(features.num_tokens, embed_dim)) if config.position_embeddings else None
        )
        # nn.TransformerEncoder copies one layer, so all its layers would start with the same weights.
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
        """Maps the names of this mapper's entries in a checkpoint of gpt2-image-captioning to their names here."""
        return renamed(names, NOTEBOOKS, TRANSFORMER)


def _check(config: TransformerConfig, features: FeatureShape, embed_dim: int) -> None:
    require_fitting_heads(config.num_heads, embed_dim)
    if config.num_image_tokens is not None:
        features.require_pooled(needed_by="transformer with num_image_tokens")
    if config.position_embeddings and features.num_tokens == 1:
        raise ComponentError(
            "the encoder emits one pooled embedding per image, which has no positions.",
            option="position_embeddings",
            fix='Leave it out, or set /encoder/features to "tokens".',
        )
