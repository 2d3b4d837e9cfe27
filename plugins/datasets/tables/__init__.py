"""Your own captions in a table, `csv` (a spreadsheet's export) or `jsonl` (JSON objects), and one image folder.

A split consists of images, not of captions: all rows of one image are in the same split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ....core.protocols import (
    CaptionEntry,
    Component,
    ComponentConfig,
    DatasetConfig,
    InputFile,
    InputFolder,
    Shares,
    hookimpl,
)

Name = Annotated[str, Field(min_length=1)]


class Columns(ComponentConfig):
    """Names in the first line of a CSV table, or keys of JSON objects; other columns are not read."""

    file: Name = Field("file", description="Column of the image's file name, relative to `images`.")
    caption: Name | Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        "caption", description="Column of the caption, or a list of columns that are taken together."
    )
    split: Name = Field(
        "split",
        description="Column of the split: train (or training), val (valid, validation, dev, development, eval, evaluation) "
        "or test (testing). The table need not have it.",
    )
    image_id: Name = Field("image_id", description="Column of the image id; without it the id is the file name.")

    @property
    def captions(self) -> tuple[str, ...]:
        """The columns of captions."""
        return (self.caption,) if isinstance(self.caption, str) else self.caption


class TableConfig(DatasetConfig):
    """Options that "csv" and "jsonl" share."""

    images: InputFolder = Field(
        description="Folder of the images; file names are relative to it, or to the folder of the table inside it."
    )
    captions: InputFile | None = Field(None, description="One table for all splits.")
    train: InputFile | None = Field(None, description="Table of the training images, in place of `captions`.")
    val: InputFile | None = Field(None, description="Table of the validation images, in place of `captions`.")
    test: InputFile | None = Field(None, description="Table of the test images, in place of `captions`.")
    columns: Columns = Field(Columns(), description="Names of the table's columns, or keys.")
    shares: Shares | None = Field(
        None,
        description="Shares of the images of `captions` for val and test, when no row names a split. null: the table names "
        "them, or the images are in folders train, validation and test.",
    )
    on_bad_row: Literal["fail", "skip"] = Field(
        "fail",
        description='Stop at wrong rows, or "skip" them; both list the rows. "skip" gives no notice of what it keeps: '
        "repeated captions, and file names that are spelled otherwise.",
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
    """Options of data set "csv": a CSV table in UTF-8, or UTF-16 with its mark, with column names in its first line."""

    delimiter: str = Field(",", pattern=r'^[^"\r\n]$', description='Character between columns; "\\t" for TSV.')

    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> Self | None:
        """Returns the options for a table whose first line has a delimiter, else None; finds columns by usual names."""
        from .proposal import csv_options

        options = csv_options(images, captions, columns)
        return None if options is None else cls(images=images, **options)

    @classmethod
    def captions_of(cls, file: Path, *, columns: Mapping[str, Sequence[str]]) -> Sequence[CaptionEntry] | None:
        """Returns the captions of a table whose first line has a delimiter, else None; finds columns by usual names."""
        from .captions import csv_captions

        return csv_captions(file, columns)


class JsonlConfig(TableConfig):
    """Options of data set "jsonl": lines `{"file": ..., "caption": ...}`, or with a list "captions"; or one JSON list."""

    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> Self | None:
        """Returns the options for a file that begins with an object, alone or in a list, else None; finds usual keys."""
        from .proposal import json_options

        options = json_options(images, captions, columns)
        return None if options is None else cls(images=images, **options)

    @classmethod
    def captions_of(cls, file: Path, *, columns: Mapping[str, Sequence[str]]) -> Sequence[CaptionEntry] | None:
        """Returns the captions of a file that begins with an object, alone or in a list, else None; finds usual keys."""
        from .captions import json_captions

        return json_captions(file, columns)


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
            summary="A CSV table, as spreadsheets export it, and an image folder.",
            example=CsvConfig.model_construct(images=Path("images"), captions=Path("captions.csv"), shares=Shares()),
            write_example=_write_csv_example,
        ),
        Component(
            name="jsonl",
            config=JsonlConfig,
            target=f"{__name__}.model:JsonlDataset",
            summary="JSON lines or a JSON list, with file names and captions, and an image folder.",
            example=JsonlConfig.model_construct(
                images=Path("images"), captions=Path("captions.jsonl"), shares=Shares()
            ),
            write_example=_write_jsonl_example,
        ),
    ]
