"""Transformer mapper: learned prefix queries read the image tokens through self-attention."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ....core.protocols import Component, FeatureKind, MapperConfig, hookimpl


class TransformerConfig(MapperConfig):
    """Options of the Transformer mapper."""

    prefix_length: int = Field(10, ge=1, description="Prefix vectors per image (P), one per learned query.")
    num_image_tokens: int | None = Field(
        None,
        ge=1,
        description="Image tokens that a pooled embedding is unfolded into; null: the prefix length. For pooled "
        "embeddings only: patch tokens keep their number.",
    )
    position_embeddings: bool = Field(
        False,
        description="Add a learned position embedding to each patch token. The grid of a CNN needs it: it has none. For "
        "patch tokens only.",
    )
    num_layers: int = Field(8, ge=1, description="Encoder layers.")
    num_heads: int = Field(8, ge=1, description="Attention heads; must divide the decoder's width E.")
    mlp_ratio: float = Field(4.0, gt=0, description="Width of the feed-forward part, in multiples of E.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout while training.")

    @model_validator(mode="after")
    def _one_kind_of_features(self) -> Self:
        if self.position_embeddings and self.num_image_tokens is not None:
            raise ValueError(
                "num_image_tokens needs a pooled embedding, and position_embeddings needs patch tokens: leave one out."
            )
        return self

    def required_features(self) -> FeatureKind | None:
        """Both kinds, unless an option works with one of them only."""
        if self.num_image_tokens is not None:
            return "pooled"
        return "tokens" if self.position_embeddings else None


@hookimpl
def register_mappers() -> list[Component]:
    """Registers "transformer"."""
    return [
        Component(
            name="transformer",
            config=TransformerConfig,
            target=f"{__name__}.model:TransformerMapper",
            summary="Pre-norm Transformer over image tokens and learned prefix queries; pooled or patch tokens.",
            example=TransformerConfig(prefix_length=2, num_layers=1, num_heads=2),
            starter=TransformerConfig(prefix_length=10),
            is_recommended=True,
            source="ClipCap (Mokady et al., 2021, arXiv 2111.09734), section 3.2; with torch.nn's encoder layers",
        )
    ]
