"""MLP mapper: two layers from the pooled image embedding to the whole prefix (ClipCap)."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, FeatureKind, MapperConfig, hookimpl


class MlpConfig(MapperConfig):
    """Options of the MLP mapper."""

    prefix_length: int = Field(10, ge=1, description="Prefix vectors per image (P).")

    def required_features(self) -> FeatureKind:
        """One pooled embedding per image."""
        return "pooled"


@hookimpl
def register_mappers() -> list[Component]:
    """Registers "mlp"."""
    return [
        Component(
            name="mlp",
            config=MlpConfig,
            target=f"{__name__}.model:MlpMapper",
            summary="Two layers with a tanh between them, from the pooled embedding to the prefix.",
            example=MlpConfig(prefix_length=2),
            starter=MlpConfig(prefix_length=10),
            is_recommended=True,
            source="ClipCap (Mokady et al., 2021, arXiv 2111.09734), section 3.2",
        )
    ]
