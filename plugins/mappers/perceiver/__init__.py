"""Perceiver mapper: learned queries read any number of patch tokens by cross-attention (Flamingo's resampler)."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, FeatureKind, MapperConfig, hookimpl


class PerceiverConfig(MapperConfig):
    """Options of the Perceiver mapper."""

    prefix_length: int = Field(32, ge=1, description="Prefix vectors per image (P), one per learned query.")
    num_layers: int = Field(2, ge=1, description="Layers of cross-attention and feed-forward.")
    num_heads: int = Field(8, ge=1, description="Attention heads; must divide the decoder's width E.")
    mlp_ratio: float = Field(4.0, gt=0, description="Width of the feed-forward part, in multiples of E.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout while training.")
    position_embeddings: bool = Field(
        False,
        description="Add a learned position embedding to each patch token. The grid of a CNN needs it: it has none.",
    )

    def required_features(self) -> FeatureKind:
        """Patch tokens: with a single embedding there is nothing to attend to."""
        return "tokens"


@hookimpl
def register_mappers() -> list[Component]:
    """Registers "perceiver"."""
    return [
        Component(
            name="perceiver",
            config=PerceiverConfig,
            target=f"{__name__}.model:PerceiverMapper",
            summary="Learned queries cross-attend to patch tokens; the cost grows linearly with N.",
            example=PerceiverConfig(prefix_length=2, num_layers=1, num_heads=2),
            source="Perceiver Resampler of Flamingo (Alayrac et al., 2022, arXiv 2204.14198), section 3.1 and figure 5",
        )
    ]
