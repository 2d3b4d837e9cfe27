"""Shapes: small scenes of coloured shapes with five references each, drawn from a seed; nothing to download.

It is there to try capfw, to test it and to compare mappers and decoders in minutes. What the test and validation
images show together is never shown together in training (see `scenes.py`), so a score above chance is not memory.
"""

from pydantic import Field

from ....core.protocols import Component, DatasetConfig, hookimpl


class ShapesConfig(DatasetConfig):
    """How many scenes to draw, and from which seed."""

    seed: int = Field(0, ge=0, description="Seed of the scenes and of which combinations are held out.")
    num_train: int = Field(2000, ge=1, description="Training images; more of them leave the earlier ones unchanged.")
    num_val: int = Field(100, ge=0, description="Validation images; 0 leaves the split out.")
    num_test: int = Field(200, ge=0, description="Test images; 0 leaves the split out.")
    image_size: int = Field(64, ge=32, le=1024, description="Width and height of an image, in pixels.")


@hookimpl
def register_datasets() -> list[Component]:
    """The data set "shapes"."""
    return [
        Component(
            name="shapes",
            config=ShapesConfig,
            target=f"{__name__}.model:ShapesDataset",
            summary="Drawn scenes of one or two coloured shapes, five references each, held-out combinations.",
            example=ShapesConfig(num_train=12, num_val=4, num_test=4),
        )
    ]
