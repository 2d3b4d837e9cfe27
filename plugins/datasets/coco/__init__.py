"""COCO data set: captions in COCO's JSON format, and a folder of images, per split."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ....core.protocols import Component, ComponentConfig, InputFile, InputFolder, hookimpl


class CocoSplit(ComponentConfig):
    """Where one split is."""

    images: InputFolder = Field(description="Folder that `file_name` in the captions file is relative to.")
    captions: InputFile = Field(description="Captions file: JSON with `images` and `annotations`.")
    limit: int | None = Field(None, ge=1, description="Use only the first images of the file; null uses all.")


class CocoConfig(ComponentConfig):
    """The splits there are."""

    train: CocoSplit | None = Field(None, description="Training images.")
    val: CocoSplit | None = Field(None, description="Validation images, which pick the best checkpoint.")
    test: CocoSplit | None = Field(None, description="Test images, scored once at the end.")

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not (self.train or self.val or self.test):
            raise ValueError("name at least one split: train, val or test.")
        return self


@hookimpl
def register_datasets() -> list[Component]:
    """The data set "coco"."""
    nowhere = CocoSplit.model_construct(
        images=Path("images/train"), captions=Path("annotations/captions_train.json"), limit=None
    )
    return [
        Component(
            name="coco",
            config=CocoConfig,
            target=f"{__name__}.model:CocoDataset",
            summary="COCO captions JSON and an image folder per split.",
            example=CocoConfig.model_construct(train=nowhere),
            source="Microsoft COCO Captions (Chen et al., 2015, arXiv 1504.00325)",
        )
    ]
