"""Your own captions in a table: `csv` (one row per caption) and `jsonl` (one JSON object per line), over one image folder.

A split is made of images, never of captions: all rows of one image stand in the same split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from ....core.protocols import Component, ComponentConfig, DatasetConfig, InputFile, InputFolder, Shares, hookimpl


class Columns(ComponentConfig):
    """Names in the first line of a CSV table, or keys of JSON lines; others are not read."""

    file: str = Field("file", min_length=1, description="Column of the image's file name, relative to `images`.")
    caption: str = Field("caption", min_length=1, description="Column of the caption.")
    split: str = Field("split", min_length=1, description="Column of the split: train, val or test. May be absent.")
    image_id: str = Field("image_id", min_length=1, description="Column of the image id. Absent: the file name is it.")


class TableConfig(DatasetConfig):
    """Options that csv and jsonl share."""

    images: InputFolder = Field(description="Folder that the table's file names are relative to.")
    captions: InputFile | None = Field(None, description="One table for all splits.")
    train: InputFile | None = Field(None, description="Table of the training images, in place of `captions`.")
    val: InputFile | None = Field(None, description="Table of the validation images, in place of `captions`.")
    test: InputFile | None = Field(None, description="Table of the test images, in place of `captions`.")
    columns: Columns = Field(Columns(), description="The table's own names for the columns, or keys.")
    shares: Shares | None = Field(None, description="How to divide the images of `captions` when no row names a split.")
    on_bad_row: Literal["fail", "skip"] = Field(
        "fail", description="Stop at rows that are wrong, or leave them out. Either way they are listed."
    )
    limit: int | None = Field(None, ge=1, description="Use only the first images of each split; null uses all.")

    @model_validator(mode="after")
    def _one_way_of_naming_tables(self) -> Self:
        per_split = [name for name in ("train", "val", "test") if getattr(self, name) is not None]
        if not self.captions and not per_split:
            raise ValueError("name a table: captions for all splits, or one for each of train, val, test.")
        if self.captions and per_split:
            raise ValueError(f"captions already holds every split: leave it out, or {', '.join(per_split)}.")
        if self.shares and per_split:
            raise ValueError("shares divide the table captions; the tables of train, val and test are splits already.")
        return self


class CsvConfig(TableConfig):
    """A CSV table in UTF-8 with column names in its first line."""

    delimiter: str = Field(",", pattern=r'^[^"\r\n]$', description='Between columns; "\\t" for TSV.')

    @classmethod
    def for_files(cls, *, images: Path, captions: Path) -> Self | None:
        """Any table whose first line has a delimiter; columns of usual names are found."""
        from .recognition import csv_options

        options = csv_options(captions)
        return None if options is None else cls(images=images, captions=captions, **options)


class JsonlConfig(TableConfig):
    """JSON lines in UTF-8: `{"file": ..., "caption": ...}`, or a list under "captions"; `split` and `image_id` if wanted."""

    @classmethod
    def for_files(cls, *, images: Path, captions: Path) -> Self | None:
        """A file whose first line is a JSON object of its own; keys of usual names are found."""
        from .recognition import jsonl_options

        options = jsonl_options(captions)
        return None if options is None else cls(images=images, captions=captions, **options)


def _example_images(folder: Path) -> list[str]:
    """Writes ten small images; returns their file names."""
    from PIL import Image  # only here: this half is light

    names = [f"{number}.png" for number in range(10)]
    for number, name in enumerate(names):
        Image.new("RGB", (32, 24), (number, 0, 0)).save(folder / name)
    return names


def _write_csv_example(folder: Path) -> CsvConfig:
    rows = [f'{name},"a picture, {word}"' for name in _example_images(folder) for word in ("dark", "small")]
    table = folder / "captions.csv"
    table.write_text("\n".join(["file,caption", *rows]), encoding="utf-8")
    return CsvConfig(images=folder, captions=table, shares=Shares())


def _write_jsonl_example(folder: Path) -> JsonlConfig:
    rows = [{"file": name, "captions": ["a dark picture", "a small one"]} for name in _example_images(folder)]
    table = folder / "captions.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return JsonlConfig(images=folder, captions=table, shares=Shares())


@hookimpl
def register_datasets() -> list[Component]:
    """The data sets "csv" and "jsonl"."""
    return [
        Component(
            name="csv",
            config=CsvConfig,
            target=f"{__name__}.model:CsvDataset",
            summary="A CSV table with one row per caption, and an image folder.",
            example=CsvConfig.model_construct(images=Path("images"), captions=Path("captions.csv"), shares=Shares()),
            write_example=_write_csv_example,
        ),
        Component(
            name="jsonl",
            config=JsonlConfig,
            target=f"{__name__}.model:JsonlDataset",
            summary="JSON lines with a file name and its captions, and an image folder.",
            example=JsonlConfig.model_construct(
                images=Path("images"), captions=Path("captions.jsonl"), shares=Shares()
            ),
            write_example=_write_jsonl_example,
        ),
    ]
