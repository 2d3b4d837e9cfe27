"""COCO data set: captions in COCO's JSON format and a folder of images, for each split or to be divided."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ....core.protocols import (
    Component,
    ComponentConfig,
    DataError,
    DatasetConfig,
    InputFile,
    InputFolder,
    Shares,
    hookimpl,
    read_json,
)


class CocoSplit(ComponentConfig):
    """The files of one split."""

    images: InputFolder = Field(
        description="Folder of the images; each `file_name` in the captions file is relative to it."
    )
    captions: InputFile = Field(description="Captions file: JSON with `images` and `annotations`.")
    limit: int | None = Field(None, ge=1, description="Use only the first images of the file; null uses all.")


class CocoConfig(DatasetConfig):
    """Options of data set "coco": the files of each split, or one file to divide."""

    train: CocoSplit | None = Field(None, description="Training images.")
    val: CocoSplit | None = Field(None, description="Validation images, which select the best checkpoint.")
    test: CocoSplit | None = Field(None, description="Test images, scored once at the end.")
    all: CocoSplit | None = Field(
        None, description="Images of all splits, divided by `shares`; replaces train, val and test."
    )
    shares: Shares | None = Field(
        None, description="Shares of the images of `all` for val and test; the rest is for training."
    )

    @model_validator(mode="after")
    def _splits_or_shares(self) -> Self:
        per_split = [name for name in ("train", "val", "test") if getattr(self, name) is not None]
        if self.all and per_split:
            raise ValueError(f'"all" already holds every split: leave it out, or leave out {", ".join(per_split)}.')
        if self.all and not self.shares:
            raise ValueError('"all" needs shares: set "shares" to {"val": 0.1, "test": 0.1}.')
        if self.shares and not self.all:
            raise ValueError('"shares" divides the images of "all": remove it, or name the file as "all".')
        if not self.all and not per_split:
            raise ValueError('name at least one split: train, val or test; or "all", with "shares".')
        return self

    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> Self | None:
        """Returns the options for one file in COCO's format, to be divided; None for any other file."""
        if captions is None or columns:  # not in a folder, and a table
            return None
        try:
            content = read_json(captions)
        except DataError:
            return None
        if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
            return None
        return cls(all=CocoSplit(images=images, captions=captions), shares=Shares(val=0.1, test=0.1))


def _write_example(folder: Path) -> CocoConfig:
    """Writes three images per split, with two captions each."""
    from PIL import Image  # imported here: this half stays light

    parts = {}
    for first, split in ((1, "train"), (11, "val"), (21, "test")):
        images, captions = folder / split, folder / f"captions_{split}.json"
        images.mkdir()
        ids = range(first, first + 3)
        for image_id in ids:
            Image.new("RGB", (32, 24), (image_id, 0, 0)).save(images / f"{image_id:012}.png")
        content = {
            "images": [{"id": image_id, "file_name": f"{image_id:012}.png"} for image_id in ids],
            "annotations": [
                {"image_id": image_id, "caption": f"{word} red picture"} for image_id in ids for word in ("a", "one")
            ],
        }
        captions.write_text(json.dumps(content), encoding="utf-8")
        parts[split] = CocoSplit(images=images, captions=captions)
    return CocoConfig(**parts)


@hookimpl
def register_datasets() -> list[Component]:
    """Registers "coco"."""
    nowhere = CocoSplit.model_construct(
        images=Path("images/train"), captions=Path("annotations/captions_train.json"), limit=None
    )
    return [
        Component(
            name="coco",
            config=CocoConfig,
            target=f"{__name__}.model:CocoDataset",
            summary="COCO captions JSON and an image folder, for each split or to be divided.",
            example=CocoConfig.model_construct(train=nowhere),
            write_example=_write_example,
            source="Microsoft COCO Captions (Chen et al., 2015, arXiv 1504.00325)",
        )
    ]
