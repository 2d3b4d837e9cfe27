"""`capfw init --images FOLDER`: captions that lie inside the folder, and Hugging Face's layout of folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw.cli import main
from capfw.core.spec import load_spec

COUNTS = {"train": 6, "validation": 2, "test": 2}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with images of the same names in data/train, data/validation and data/test."""
    for split, count in COUNTS.items():
        (tmp_path / "data" / split).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (20 * i, 10, 10)).save(tmp_path / "data" / split / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", "--images", "data", *arguments])


def data(home: Path) -> dict[str, Any]:
    assert load_spec(home / "spec.json").data is not None
    section = json.loads((home / "spec.json").read_text())["data"]
    assert isinstance(section, dict)
    return section


def write_lines(file: Path, names: list[str], caption: str = "text") -> None:
    file.write_text("\n".join(json.dumps({"file_name": name, caption: f"{file.parent.name} {name}"}) for name in names))


def write_csv(file: Path, names: list[str]) -> None:
    file.write_text("file_name,caption\n" + "".join(f"{name},of {name}\n" for name in names))


def names(split: str) -> list[str]:
    return [f"{i}.jpg" for i in range(COUNTS[split])]


def test_metadata_in_each_folder(home: Path) -> None:
    for split in COUNTS:
        write_lines(home / "data" / split / "metadata.jsonl", names(split))

    result = invoke()

    assert result.exit_code == 0, result.stderr
    assert "jsonl: 10 captions, 1 an image; images: train 6, val 2, test 2" in result.stdout
    assert data(home) == {
        "name": "jsonl",
        "images": "data",
        "train": "data/train/metadata.jsonl",
        "val": "data/validation/metadata.jsonl",
        "test": "data/test/metadata.jsonl",
        "columns": {"file": "file_name", "caption": "text"},
    }
    dataset = load_spec(home / "spec.json").data.build()
    first = dataset.samples("val")[0]
    assert (first.image_id, first.references) == ("validation/0.jpg", ("validation 0.jpg",))
    assert first.source.read() == (home / "data" / "validation" / "0.jpg").read_bytes()


def test_a_folder_without_metadata_is_named(home: Path) -> None:
    for split in ("train", "test"):
        write_csv(home / "data" / split / "metadata.csv", names(split))

    result = invoke()

    assert result.exit_code == 0, result.stderr
    assert "images: train 6, test 2" in result.stdout
    assert (
        "validation: there is no metadata table with captions in this folder. Its images are not used." in result.stderr
    )


def test_one_table_beside_the_folders(home: Path) -> None:
    every = [f"{split}/{name}" for split in COUNTS for name in names(split)]
    write_csv(home / "data" / "metadata.csv", every)

    result = invoke()

    assert result.exit_code == 0, result.stderr
    assert "images: train 6, val 2, test 2" in result.stdout
    assert data(home) == {
        "name": "csv",
        "images": "data",
        "captions": "data/metadata.csv",
        "columns": {"file": "file_name"},
    }
    write_csv(home / "beside.csv", every)
    assert "images: train 6, val 2, test 2" in invoke("--captions", "beside.csv", "--force").stdout


def test_metadata_of_training_images_alone_is_divided(home: Path) -> None:
    write_csv(home / "data" / "train" / "metadata.csv", names("train"))

    result = invoke()

    assert result.exit_code == 0, result.stderr
    assert data(home)["captions"] == "data/train/metadata.csv"
    assert data(home)["shares"] == {"val": 0.1, "test": 0.1}


def test_tables_called_after_splits(home: Path) -> None:
    for split in COUNTS:
        write_csv(home / "data" / f"{split}.csv", [f"{split}/{name}" for name in names(split)])

    assert invoke().exit_code == 0
    assert {key: data(home)[key] for key in ("train", "val", "test")} == {
        "train": "data/train.csv",
        "val": "data/validation.csv",
        "test": "data/test.csv",
    }


def test_a_single_table_of_any_name(home: Path) -> None:
    write_csv(home / "data" / "my captions.csv", [f"train/{name}" for name in names("train")])

    assert invoke().exit_code == 0
    assert (data(home)["captions"], "shares" in data(home)) == ("data/my captions.csv", True)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (["a.csv", "b.csv"], "several tables may hold the captions: a.csv, b.csv."),
        (["metadata.csv", "metadata.tsv"], "several tables may hold the captions: metadata.csv, metadata.tsv."),
        (["train.csv", "training.csv"], "several tables may hold the captions: train.csv, training.csv."),
        ([], "no data set finds captions inside this folder; tried: coco, csv, jsonl,"),
    ],
)
def test_two_tables_or_none_need_a_name(home: Path, tables: list[str], said: str) -> None:
    for table in tables:
        write_csv(home / "data" / table, ["train/0.jpg"])

    result = invoke()

    assert (result.exit_code, f"data: {said}" in result.stderr) == (2, True), result.stderr
    assert "--captions" in result.stderr
