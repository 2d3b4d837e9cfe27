"""The network of ClipCap's Transformer mapper."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....core.protocols import FeatureShape
from ...libraries.attention import require_fitting_heads
from ...libraries.clipcap import CLIPCAP, TRANSFORMER, renamed
from . import ClipCapTransformerConfig

_MLP_RATIO = 2  # ClipCap's code never changes it


class ClipCapTransformerMapper(nn.Module):
    """Maps features (B, 1, D) float32 to a prefix (B, P, E) float32.

    One linear map unfolds the embedding into image tokens, and the learned prefix queries follow them. The prefix is the
    output at the queries, without a final norm. ClipCap (Mokady et al., 2021), section 3.2, uses 8 layers and 8 heads.

    Raises `IncompatibleComponents` when the encoder emits more than one token per image, `ComponentError` when the heads
    do not divide E.
    """

    def __init__(self, config: ClipCapTransformerConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        features.require_pooled(needed_by="clipcap-transformer")
        require_fitting_heads(config.num_heads, embed_dim)
        self.prefix_length, self.embed_dim = config.prefix_length, embed_dim
        self.num_image_tokens = config.num_image_tokens
        self.project = nn.Linear(features.dim, config.num_image_tokens * embed_dim)
        self.prefix_queries = nn.Parameter(torch.randn(config.prefix_length, embed_dim))
        self.layers = nn.Sequential(*(_Layer(embed_dim, config.num_heads) for _ in range(config.num_layers)))

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.project(features[:, 0]).view(-1, self.num_image_tokens, self.embed_dim)  # (B, image tokens, E)
        queries = self.prefix_queries.expand(len(features), -1, -1)  # (B, P, E)
        read = self.layers(torch.cat([tokens, queries], dim=1))  # (B, image tokens + P, E)
        return read[:, self.num_image_tokens :]  # (B, P, E)

    @staticmethod
    def foreign_names(names: Iterable[str]) -> dict[str, str | None]:
        """Maps the names of this mapper's entries in a checkpoint of ClipCap to their names here."""
        return renamed(names, CLIPCAP, TRANSFORMER)


class _Layer(nn.Module):
    """Pre-norm attention and MLP (B, T, E), each with a residual connection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _Attention(width, num_heads)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, _MLP_RATIO * width))
        self.mlp.add_module("relu", nn.ReLU())
        self.mlp.add_module("fc2", nn.Linear(_MLP_RATIO * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Attention(nn.Module):
    """Self-attention with a bias in the output projection only; `nn.MultiheadAttention` has all biases or none."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_queries = nn.Linear(width, width, bias=False)
        self.to_keys_values = nn.Linear(width, 2 * width, bias=False)  # keys first
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = self.to_keys_values(x).chunk(2, dim=-1)
        heads = [
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (self.to_queries(x), keys, values)
        ]
        read = functional.scaled_dot_product_attention(*heads)  # (B, heads, T, E / heads)
        return self.project(read.transpose(1, 2).flatten(2))  # (B, T, E)
