"""ClipCap's own Transformer mapper, which its published checkpoints need."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, FeatureKind, MapperConfig, hookimpl


class ClipCapTransformerConfig(MapperConfig):
    """Options of ClipCap's Transformer mapper; the defaults are those of its published checkpoint."""

    prefix_length: int = Field(40, ge=1, description="Prefix vectors per image (P), one per learned query.")
    num_image_tokens: int = Field(
        40, ge=1, description='Image tokens that the embedding is unfolded into ("clip_length" in ClipCap).'
    )
    num_layers: int = Field(8, ge=1, description="Transformer layers.")
    num_heads: int = Field(8, ge=1, description="Attention heads; must divide the decoder's width E.")

    def required_features(self) -> FeatureKind:
        """One pooled embedding per image."""
        return "pooled"


@hookimpl
def register_mappers() -> list[Component]:
    """Registers "clipcap-transformer"."""
    return [
        Component(
            name="clipcap-transformer",
            config=ClipCapTransformerConfig,
            target=f"{__name__}.model:ClipCapTransformerMapper",
            summary="ClipCap's own Transformer: attention without biases, MLP ratio 2, no dropout; pooled embeddings.",
            example=ClipCapTransformerConfig(prefix_length=2, num_image_tokens=2, num_layers=1, num_heads=2),
            source="ClipCap (Mokady et al., 2021, arXiv 2111.09734), section 3.2, and its code",
        )
    ]
