"""Your own captions in a table, `csv` (one row per caption) or `jsonl` (one JSON object per line), and one image folder.

A split consists of images, not of captions: all rows of one image are in the same split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from ....core.protocols import Component, ComponentConfig, DatasetConfig, InputFile, InputFolder, Shares, hookimpl


class Columns(ComponentConfig):
    """Names in the first line of a CSV table, or keys of JSON lines; other columns are not read."""

    file: str = Field("file", min_length=1, description="Column of the image's file name, relative to `images`.")
    caption: str = Field("caption", min_length=1, description="Column of the caption.")
    split: str = Field(
        "split", min_length=1, description="Column of the split (train, val or test); the table need not have it."
    )
    image_id: str = Field(
        "image_id", min_length=1, description="Column of the image id; without it the id is the file name."
    )


class TableConfig(DatasetConfig):
    """Options that "csv" and "jsonl" share."""

    images: InputFolder = Field(description="Folder of the images; the table's file names are relative to it.")
    captions: InputFile | None = Field(None, description="One table for all splits.")
    train: InputFile | None = Field(None, description="Table of the training images, in place of `captions`.")
    val: InputFile | None = Field(None, description="Table of the validation images, in place of `captions`.")
    test: InputFile | None = Field(None, description="Table of the test images, in place of `captions`.")
    columns: Columns = Field(Columns(), description="Names of the table's columns, or keys.")
    shares: Shares | None = Field(
        None, description="Shares of the images of `captions` for val and test, when no row names a split."
    )
    on_bad_row: Literal["fail", "skip"] = Field(
        "fail", description='Stop at wrong rows, or "skip" them; both list the rows.'
    )
    limit: int | None = Field(None, ge=1, description="Use only the first images of each split; null uses all.")

    @model_validator(mode="after")
    def _one_way_of_naming_tables(self) -> Self:
        per_split = [name for name in ("train", "val", "test") if getattr(self, name) is not None]
        if not self.captions and not per_split:
            raise ValueError('name a table: "captions" for all splits, or one for each of train, val, test.')
        if self.captions and per_split:
            raise ValueError(
                f'"captions" already holds every split: leave it out, or leave out {", ".join(per_split)}.'
            )
        if self.shares and per_split:
            raise ValueError('"shares" divides the table "captions": remove it, or name one table as "captions".')
        return self


class CsvConfig(TableConfig):
    """Options of data set "csv": a CSV table in UTF-8 with column names in its first line."""

    delimiter: str = Field(",", pattern=r'^[^"\r\n]$', description='Character between columns; "\\t" for TSV.')

    @classmethod
    def for_files(cls, *, images: Path, captions: Path) -> Self | None:
        """Returns the options for a table whose first line has a delimiter, else None; finds columns by usual names."""
        from .recognition import csv_options

        options = csv_options(captions)
        return None if options is None else cls(images=images, captions=captions, **options)


class JsonlConfig(TableConfig):
    """Options of data set "jsonl": UTF-8 lines `{"file": ..., "caption": ...}`, or with a list "captions"."""

    @classmethod
    def for_files(cls, *, images: Path, captions: Path) -> Self | None:
        """Returns the options for a file whose first line is a JSON object, else None; finds keys by usual names."""
        from .recognition import jsonl_options

        options = jsonl_options(captions)
        return None if options is None else cls(images=images, captions=captions, **options)


def _example_images(folder: Path) -> list[str]:
    """Writes ten small images and returns their file names."""
    from PIL import Image  # imported here: this half stays light

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
    """Registers "csv" and "jsonl"."""
    return [
        Component(
            name="csv",
            config=CsvConfig,
            target=f"{__name__}.model:CsvDataset",
            summary="A CSV table with one row per caption and an image folder.",
            example=CsvConfig.model_construct(images=Path("images"), captions=Path("captions.csv"), shares=Shares()),
            write_example=_write_csv_example,
        ),
        Component(
            name="jsonl",
            config=JsonlConfig,
            target=f"{__name__}.model:JsonlDataset",
            summary="JSON lines, each with a file name and its captions, and an image folder.",
            example=JsonlConfig.model_construct(
                images=Path("images"), captions=Path("captions.jsonl"), shares=Shares()
            ),
            write_example=_write_jsonl_example,
        ),
    ]
