"""Karpathy's splits: one JSON file (dataset_coco.json, dataset_flickr8k.json, dataset_flickr30k.json) and its images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from ....core.protocols import (
    CaptionEntry,
    Component,
    DataError,
    DatasetConfig,
    InputFile,
    InputFolder,
    hookimpl,
    read_json,
)


class KarpathyConfig(DatasetConfig):
    """Options of data set "karpathy"."""

    captions: InputFile = Field(description="Karpathy's JSON file, for example dataset_coco.json.")
    images: InputFolder = Field(description="Image folder; for COCO the folder of train2014 and val2014.")
    subfolders: Literal["filepath", "split"] = Field(
        "filepath",
        description='Folder of a file below `images`. "filepath": the `filepath` of its entry, or `images` itself where '
        'the entry has none. "split": the name of its split.',
    )
    restval: Literal["drop", "train"] = Field(
        "drop",
        description='COCO\'s 30,504 validation images outside val and test. "train" adds them to the training images '
        '(113,287, as most papers do), "drop" leaves them out (82,783).',
    )
    limit: int | None = Field(None, ge=1, description="Use only the first images of each split; null uses all.")

    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> Self | None:
        """Returns the options for a file in Karpathy's format, else None; the first image decides `subfolders`."""
        if captions is None or columns:  # not in a folder, and a table
            return None
        first = _first_image(captions)
        if first is None:
            return None
        is_by_split = (images / str(first["split"]) / str(first["filename"])).is_file()
        return cls(captions=captions, images=images, **({"subfolders": "split"} if is_by_split else {}))

    @classmethod
    def captions_of(cls, file: Path, *, columns: Mapping[str, Sequence[str]]) -> Sequence[CaptionEntry] | None:
        """Returns the captions of a file in Karpathy's format, else None."""
        if columns or _first_image(file) is None:
            return None
        from .model import read_entries

        return [CaptionEntry(each.image_id, each.captions, each.filename, each.split) for each in read_entries(file)]


def _first_image(file: Path) -> dict[str, Any] | None:
    """Returns the entry of the first image of a file in Karpathy's format, else None."""
    try:
        content = read_json(file)
    except DataError:
        return None
    entries = content.get("images") if isinstance(content, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    return first if isinstance(first, dict) and {"filename", "split", "sentences"} <= first.keys() else None


def _write_example(folder: Path) -> KarpathyConfig:
    """Writes images into one folder that suits both values of `subfolders`."""
    from PIL import Image  # imported here: this half stays light

    entries = []
    for number, split in enumerate(("train", "train", "val", "val", "test", "test", "restval")):
        name = f"{number}.png"
        (folder / split).mkdir(exist_ok=True)
        Image.new("RGB", (32, 24), (number, 0, 0)).save(folder / split / name)
        sentences = [{"raw": "a dark picture"}, {"raw": "nothing to see"}]
        entries.append({"imgid": number, "filename": name, "filepath": split, "split": split, "sentences": sentences})
    captions = folder / "dataset.json"
    captions.write_text(json.dumps({"images": entries}), encoding="utf-8")
    return KarpathyConfig(captions=captions, images=folder)


@hookimpl
def register_datasets() -> list[Component]:
    """Registers "karpathy"."""
    return [
        Component(
            name="karpathy",
            config=KarpathyConfig,
            target=f"{__name__}.model:KarpathyDataset",
            summary="Karpathy's JSON file with its splits, and an image folder.",
            example=KarpathyConfig.model_construct(captions=Path("dataset_coco.json"), images=Path("coco")),
            write_example=_write_example,
            source="Deep Visual-Semantic Alignments (Karpathy and Fei-Fei, 2015, arXiv 1412.2306)",
        )
    ]
