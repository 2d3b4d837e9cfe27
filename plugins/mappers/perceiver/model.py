"""The Perceiver mapper's network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....core.protocols import FeatureShape, IncompatibleComponents
from ...libraries.attention import require_fitting_heads
from . import PerceiverConfig


class PerceiverMapper(nn.Module):
    """Maps features (B, N, D) float32 to a prefix (B, P, E) float32.

    Flamingo (Alayrac et al., 2022), figure 5: in each layer the queries attend to the image tokens and to themselves.
    This mapper has no time embeddings, and GELU in place of squared ReLU.

    Raises `IncompatibleComponents` for a pooled embedding, `ComponentError` when the heads do not divide E.
    """

    def __init__(self, config: PerceiverConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        _check(config, features, embed_dim)
        self.prefix_length, self.embed_dim = config.prefix_length, embed_dim
        self.project = nn.Linear(features.dim, embed_dim)
        self.positions = (
            nn.Parameter(0.02 * torch.randn(features.num_tokens, embed_dim)) if config.position_embeddings else None
        )
        self.prefix_queries = nn.Parameter(0.02 * torch.randn(config.prefix_length, embed_dim))
        self.layers = nn.ModuleList(_Layer(config, embed_dim) for _ in range(config.num_layers))

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.project(features)  # (B, N, E)
        if self.positions is not None:
            tokens = tokens + self.positions
        queries = self.prefix_queries.expand(len(features), -1, -1)  # (B, P, E)
        for layer in self.layers:
            queries = layer(queries, tokens)
        return queries


class _Layer(nn.Module):
    """Attention from queries (B, P, E) to tokens (B, N, E) and queries, then an MLP; both pre-norm and residual."""

    def __init__(self, config: PerceiverConfig, width: int) -> None:
        super().__init__()
        self.norm_queries, self.norm_tokens = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, config.num_heads, dropout=config.dropout, batch_first=True)
        hidden = int(width * config.mlp_ratio)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, width),
            nn.Dropout(config.dropout),
        )

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        asking = self.norm_queries(queries)
        seen = torch.cat([self.norm_tokens(tokens), asking], dim=1)  # (B, N + P, E)
        queries = queries + self.attention(asking, seen, seen, need_weights=False)[0]
        return queries + self.feed_forward(queries)


def _check(config: PerceiverConfig, features: FeatureShape, embed_dim: int) -> None:
    if features.num_tokens == 1:
        raise IncompatibleComponents(
            f'"perceiver" reads patch tokens, but the encoder emits one pooled embedding (B, 1, {features.dim}).',
            fix='Set /encoder/features to "tokens", or use mapper "mlp" or "transformer".',
        )
    require_fitting_heads(config.num_heads, embed_dim)
