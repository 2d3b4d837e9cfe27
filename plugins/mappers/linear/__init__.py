"""Linear mapper: one affine map from the pooled image embedding to the whole prefix."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, FeatureKind, MapperConfig, hookimpl


class LinearConfig(MapperConfig):
    """Options of the linear mapper."""

    prefix_length: int = Field(10, ge=1, description="Prefix vectors per image (P).")

    def required_features(self) -> FeatureKind:
        """One pooled embedding per image."""
        return "pooled"


@hookimpl
def register_mappers() -> list[Component]:
    """Registers "linear"."""
    return [
        Component(
            name="linear",
            config=LinearConfig,
            target=f"{__name__}.model:LinearMapper",
            summary="One affine map from the pooled embedding to the prefix; the baseline.",
            example=LinearConfig(prefix_length=2),
            source="LiMBeR (Merullo et al., 2023, arXiv 2209.15162)",
        )
    ]
