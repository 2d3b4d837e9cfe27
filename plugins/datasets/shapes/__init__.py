"""Shapes: small scenes of coloured shapes with five references each, drawn from a seed, without a download.

It serves to try capfw, to test it, and to compare mappers and decoders in minutes. The combinations of things in the
test and validation images never occur in training (see `scenes.py`), so a score above chance is not memorised.
"""

from pydantic import Field

from ....core.protocols import Component, DatasetConfig, hookimpl


class ShapesConfig(DatasetConfig):
    """Options of data set "shapes"."""

    seed: int = Field(0, ge=0, description="Seed of the scenes and of the held-out combinations.")
    num_train: int = Field(
        2000, ge=1, description="Number of training images; a larger number keeps the first ones unchanged."
    )
    num_val: int = Field(100, ge=0, description="Number of validation images; 0 leaves the split out.")
    num_test: int = Field(200, ge=0, description="Number of test images; 0 leaves the split out.")
    image_size: int = Field(64, ge=32, le=1024, description="Width and height of an image, in pixels.")


@hookimpl
def register_datasets() -> list[Component]:
    """Registers "shapes"."""
    return [
        Component(
            name="shapes",
            config=ShapesConfig,
            target=f"{__name__}.model:ShapesDataset",
            summary="Drawn scenes of one or two coloured shapes, with five references each and held-out combinations.",
            example=ShapesConfig(num_train=12, num_val=4, num_test=4),
        )
    ]
