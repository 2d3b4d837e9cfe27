"""Colour grid: an image encoder without weights that returns the colour statistics of a grid of cells. A baseline."""

from __future__ import annotations

from pydantic import Field

from capfw.core.protocols import Component, EncoderConfig, FeatureKind, hookimpl


class ColorGridConfig(EncoderConfig):
    """Options of encoder "colorgrid"."""

    features: FeatureKind = Field(
        "pooled", description='"tokens": one token per cell, row by row; "pooled": all cells in one vector.'
    )
    grid_size: int = Field(8, ge=1, le=64, description="Cells per side.")
    cell_size: int = Field(8, ge=1, le=64, description="Pixels per side of a cell in the resized image.")
    num_hues: int = Field(6, ge=3, le=36, description="Bins of the histogram of hues.")

    def emitted_features(self) -> FeatureKind:
        """The value of `features`, which `capfw validate` compares with the features that the mapper needs."""
        return self.features


@hookimpl
def register_encoders() -> list[Component]:
    """Registers encoder "colorgrid"."""
    return [
        Component(
            name="colorgrid",
            config=ColorGridConfig,
            target=f"{__name__}.model:ColorGrid",
            summary="Mean, standard deviation and hues of the colours in a grid of cells; no weights.",
            example=ColorGridConfig(grid_size=2, cell_size=4),
            source="After colour moments (Stricker and Orengo, 1995), in CIELAB",
        )
    ]
