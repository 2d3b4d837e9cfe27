"""Data sets "csv" and "jsonl": rows become images with references, bad rows are named, splits are made of images."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from capfw.core.protocols import CapfwWarning, DataError, Dataset, FileSource
from capfw.plugins.datasets.tables import CsvConfig, JsonlConfig
from capfw.plugins.datasets.tables.model import CsvDataset, JsonlDataset

SHARES = {"shares": {"val": 0.2, "test": 0.3}}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg"):
        (folder / name).touch()
    return folder


def read_csv(images: Path, table: str | bytes, **options: Any) -> CsvDataset:
    file = images.parent / "captions.csv"
    file.write_bytes(table if isinstance(table, bytes) else table.encode())
    return CsvDataset(CsvConfig.model_validate({"images": images, "captions": file, **options}))


def read_jsonl(images: Path, lines: Sequence[object], **options: Any) -> JsonlDataset:
    file = images.parent / "captions.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return JsonlDataset(JsonlConfig.model_validate({"images": images, "captions": file, **options}))


def told(dataset: Dataset) -> dict[str, dict[Any, tuple[str, ...]]]:
    return {split: {s.image_id: s.references for s in dataset.samples(split)} for split in dataset.splits}


def test_csv_groups_rows_by_image_whatever_their_order(images: Path) -> None:
    table = (
        "\ufefffile,caption,split,photographer\r\n"
        'a.jpg,"A dog, running ",train,Ann\r\n'
        "sub/d.jpg,A sea.,test,Bob\r\n"
        "\r\n"
        'a.jpg,"A brown\ndog ""Rex"".",train,Ann\r\n'
        "b.jpg,Ein Vögelchen.,val,Bob\r\n"
    )
    dataset = read_csv(images, table)
    assert isinstance(dataset, Dataset)
    assert dataset.splits == ("train", "val", "test")
    assert told(dataset) == {
        "train": {"a.jpg": ("A dog, running", 'A brown dog "Rex".')},
        "val": {"b.jpg": ("Ein Vögelchen.",)},
        "test": {"sub/d.jpg": ("A sea.",)},
    }
    assert dataset.samples("test")[0].source == FileSource(images / "sub" / "d.jpg")


def test_csv_with_its_own_names_delimiter_and_ids(images: Path) -> None:
    table = "id\tphoto\ttext\tfold\n1\ta.jpg\tone, two\ttrain\n2\tb.jpg\tthree\tval\n"
    columns = {"file": "photo", "caption": "text", "split": "fold", "image_id": "id"}
    assert told(read_csv(images, table, columns=columns, delimiter="\t")) == {
        "train": {"1": ("one, two",)},
        "val": {"2": ("three",)},
    }


def test_csv_per_split(images: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("file,caption\na.jpg,one\nb.jpg,two\n")
    (tmp_path / "test.csv").write_text("file,caption,split\nc.jpg,three,test\n")
    options = {"images": images, "train": tmp_path / "train.csv", "test": tmp_path / "test.csv", "limit": 1}
    assert told(CsvDataset(CsvConfig.model_validate(options))) == {
        "train": {"a.jpg": ("one",)},
        "test": {"c.jpg": ("three",)},
    }
    (tmp_path / "test.csv").write_text("file,caption\na.jpg,three\n")
    with pytest.raises(DataError, match=r"test\.csv: 1 row is wrong\.\n  line 2: a\.jpg is in train in an earlier row"):
        CsvDataset(CsvConfig.model_validate(options))


BAD_TABLE = (
    b"file,caption\n"
    b"a.jpg,fine\n"
    b"no.jpg,not there\n"
    b"b.jpg,  \n"
    b"a.jpg,dull\n"
    b"b.jpg,caf\xe9\n"
    b"b.jpg,one, two\n"
    b"\n"
    b'c.jpg,"two\nlines"\n'
    b",no name\n"
    b'b.jpg,"never closed\n'
)
BAD_ROWS = [
    "line 3: no file no.jpg in {images}",
    "line 4: empty caption",
    "line 6: not UTF-8",
    "line 7: 3 columns, not 2 (text with a ',' in it needs quotes)",
    "line 11: no file name",
    "line 12: not CSV: unexpected end of data",
]


def test_white_space_within_a_file_name_is_kept(images: Path) -> None:
    names = ("two  spaces.jpg", "at 9.00\u202fAM.jpg")  # the second as macOS names screenshots
    for name in names:
        (images / name).touch()
    rows = "".join(f"{name},a  picture\n" for name in names)
    samples = read_csv(images, f"file,caption\n{rows}", **SHARES | {"shares": {"val": 0, "test": 0}}).samples("train")
    assert [(sample.file_name, sample.references) for sample in samples] == [(name, ("a picture",)) for name in names]


def test_name_of_a_folder_is_no_image(images: Path) -> None:
    (images / "more").mkdir()
    with pytest.raises(DataError, match="line 2: no file more in"):
        read_csv(images, "file,caption\nmore,a folder\n")


def test_csv_names_every_bad_row_at_once(images: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_csv(images, BAD_TABLE, **SHARES)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{images.parent / 'captions.csv'}: 6 rows are wrong."
    assert [line.strip() for line in lines[1:-1]] == [row.format(images=images) for row in BAD_ROWS]
    assert (
        lines[-1]
        .strip()
        .startswith("Save the table as UTF-8 (in Excel: CSV UTF-8). Correct the rows, or set /data/on_bad_row to")
    )


def test_csv_leaves_bad_rows_out_when_told_to_and_says_which(images: Path) -> None:
    with pytest.warns(CapfwWarning) as caught:
        dataset = read_csv(images, BAD_TABLE, on_bad_row="skip", shares={"val": 0, "test": 0.1})
    assert "6 rows are wrong" in str(caught[0].message)
    assert all(row.format(images=images) in str(caught[0].message) for row in BAD_ROWS)
    assert len(caught) == 1
    read = {image_id: captions for split in told(dataset).values() for image_id, captions in split.items()}
    assert read == {"a.jpg": ("fine", "dull"), "c.jpg": ("two lines",)}


def test_a_repeated_caption_is_a_notice_and_every_copy_a_reference(images: Path) -> None:
    table = "file,caption\na.jpg,a dog\nb.jpg,a dog\na.jpg,a cat\na.jpg, a  dog \nc.jpg,a sea\n"
    with pytest.warns(CapfwWarning) as caught:
        read_csv(images, table, shares={"val": 0, "test": 0.1})
    assert [str(warning.message) for warning in caught] == [
        f"{images.parent / 'captions.csv'}: 1 image has a caption more than once: a.jpg. Every copy is kept, for training "
        "and as a reference."
    ]
    # Who chose "skip" has heard it: warnings of capfw are errors in these tests, so this one is silent.
    dataset = read_csv(images, table, on_bad_row="skip", shares={"val": 0, "test": 0.1})
    read = {image_id: captions for split in told(dataset).values() for image_id, captions in split.items()}
    assert read == {"a.jpg": ("a dog", "a cat", "a dog"), "b.jpg": ("a dog",), "c.jpg": ("a sea",)}
    with pytest.warns(CapfwWarning, match=r"captions\.jsonl: 2 images have a caption more than once: b\.jpg, c\.jpg\."):
        read_jsonl(
            images, [{"file": f"{name}.jpg", "captions": ["x", "x"]} for name in "bc"], shares={"val": 0, "test": 0}
        )


def test_long_lists_are_cut(images: Path) -> None:
    table = "file,caption\n" + "".join(f"no{i}.jpg,x\n" for i in range(25))
    with pytest.raises(DataError) as caught:
        read_csv(images, table)
    assert "25 rows are wrong" in str(caught.value)
    assert "line 21: no file no19.jpg" in str(caught.value)
    assert "line 22" not in str(caught.value)
    assert "and 5 more" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("image,caption\na.jpg,x\n", ["line 1", 'no column "file"; the columns are image, caption', "/data/columns"]),
        ("file,captions\na.jpg,x\n", ['Did you mean "captions"?', "/data/columns"]),
        ("", ["2 columns are wrong", "there are no columns"]),
        ("file,caption\n", ["no row is left"]),
        ("file,caption\na.jpg,x\n", ["1 of 1 images are in no split", "/data/shares"]),
        ("file,caption,split\na.jpg,x,prod\n", ['line 2: split "prod" is not train, val or test']),
        (
            "file,caption,split\na.jpg,x,val\na.jpg,y,test\n",
            ["line 3: a.jpg is in val in an earlier row, in test here"],
        ),
        ("file,caption,image_id\na.jpg,x,1\nb.jpg,y,1\n", ["line 3: image id 1 belongs to a.jpg in an earlier row"]),
        ("file,caption,image_id\na.jpg,x,1\na.jpg,y,2\n", ["line 3: a.jpg has image id 1 in an earlier row, 2 here"]),
        ("f\xefle,caption\n".encode("latin-1"), ["line 1", "Save the table as UTF-8"]),
    ],
)
def test_csv_says_what_is_wrong(images: Path, table: str | bytes, said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read_csv(images, table)
    for words in ["captions.csv", *said]:
        assert words in str(caught.value)


def test_jsonl_reads_one_caption_or_several(images: Path) -> None:
    lines = [
        {"file": "a.jpg", "captions": ["A dog .", "A\nbrown  dog ."], "split": "train", "image_id": 5, "by": "Ann"},
        "",
        {"file": "b.jpg", "caption": "A cat .", "split": "test", "image_id": 6},
        {"file": "a.jpg", "caption": "Rex .", "split": "train", "image_id": 5},
    ]
    assert told(read_jsonl(images, lines)) == {
        "train": {5: ("A dog .", "A brown dog .", "Rex .")},
        "test": {6: ("A cat .",)},
    }


def test_jsonl_with_keys_of_its_own(images: Path) -> None:
    lines = [
        {"file_name": "a.jpg", "text": "A dog .", "part": "train"},
        {"file_name": "b.jpg", "text": ["A cat .", "Puss ."], "part": "test"},
    ]
    columns = {"file": "file_name", "caption": "text", "split": "part"}
    assert told(read_jsonl(images, lines, columns=columns)) == {
        "train": {"a.jpg": ("A dog .",)},
        "test": {"b.jpg": ("A cat .", "Puss .")},
    }
    with pytest.raises(DataError, match='"file_name" must be a string'):
        read_jsonl(images, [*lines, {"file": "a.jpg", "text": "x"}], columns=columns)


def test_jsonl_names_every_bad_line_at_once(images: Path) -> None:
    lines = [
        {"file": "a.jpg", "caption": "x"},
        '{"file": "a.jpg"',
        '"text"',
        {"caption": "x"},
        {"file": "a.jpg"},
        {"file": "a.jpg", "caption": "x", "captions": ["y"]},
        {"file": "a.jpg", "captions": []},
        {"file": "a.jpg", "caption": 3},
        {"file": "a.jpg", "caption": "y", "split": 1},
        {"file": "a.jpg", "caption": "y", "image_id": 1.5},
        {"file": "a.jpg", "captions": ["z", " "]},
    ]
    with pytest.raises(DataError) as caught:
        read_jsonl(images, lines)
    assert [line.strip() for line in str(caught.value).splitlines()[1:-1]] == [
        "line 2: not JSON: Expecting ',' delimiter at column 17",
        "line 3: not a JSON object",
        'line 4: "file" must be a string',
        'line 5: needs either "caption" or "captions"',
        'line 6: needs either "caption" or "captions"',
        'line 7: "captions" must be a string, or a list of strings',
        'line 8: "caption" must be a string, or a list of strings',
        'line 9: "split" must be a string',
        'line 10: "image_id" must be a number or a string',
        "line 11: empty caption",
    ]


def test_shares_divide_images_and_keep_each_where_it_is(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(400)]
    for name in names:
        (tmp_path / name).touch()

    def divided(count: int, **shares: float) -> dict[str, set[str]]:
        lines = [{"file": name, "captions": ["one", "two"]} for name in names[:count]]
        folder = tmp_path / "table"
        folder.mkdir(exist_ok=True)
        file = folder / "captions.jsonl"
        file.write_text("\n".join(map(json.dumps, lines)))
        config = {"images": tmp_path, "captions": file, "shares": {"val": 0.1, "test": 0.2, **shares}}
        return {split: set(ids) for split, ids in told(JsonlDataset(JsonlConfig.model_validate(config))).items()}

    few, many = divided(200), divided(400)
    assert sorted(name for ids in many.values() for name in ids) == sorted(names)
    # Binomial with n = 400: four standard deviations are 0.06 for 0.1 and 0.08 for 0.2.
    assert 0.04 < len(many["val"]) / 400 < 0.16
    assert 0.12 < len(many["test"]) / 400 < 0.28
    assert all(few[split] <= many[split] for split in few)
    assert divided(400) == many
    assert divided(400, seed=1) != many
    tiny = divided(4, val=0.01, test=0.01)
    assert {split: len(ids) for split, ids in tiny.items()} == {"train": 2, "val": 1, "test": 1}
    assert divided(4, val=0)["train"]
    assert {sum(map(len, divided(3, seed=seed).values())) for seed in range(30)} == {3}
    with pytest.raises(DataError, match=r"too few images to divide: 2\.\n +Set /data/shares/test to 0"):
        divided(2)


def test_shares_and_splits_of_the_table_contradict_each_other(images: Path) -> None:
    with pytest.raises(DataError, match="its rows name splits"):
        read_csv(images, "file,caption,split\na.jpg,x,train\n", **SHARES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "name a table"),
        ({"captions": "t.csv", "val": "t.csv"}, '"captions" already holds every split'),
        ({"train": "t.csv", "shares": {}}, '"shares" divides the table "captions"'),
        ({"captions": "t.csv", "shares": {"val": 0.5, "test": 0.5}}, "val and test add up to 1"),
        ({"captions": "t.csv", "delimiter": ";;"}, "pattern"),
        ({"captions": "none.csv"}, "there is no file at"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: Any, said: str) -> None:
    (tmp_path / "t.csv").touch()
    with pytest.raises(ValidationError, match=said):
        CsvConfig.model_validate({"images": ".", **options}, context={"base_dir": tmp_path})


def test_flickr8k_as_a_table_is_flickr8k(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "flickr8k"
    expected: dict[str, dict[int, tuple[str, ...]]] = {}
    with (tmp_path / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image_id", "file", "caption", "split"])
        for split in ("val", "test"):
            content = json.loads((root / "annotations" / f"captions_{split}.json").read_text())
            names = {image["id"]: image["file_name"] for image in content["images"]}
            captions: dict[int, list[str]] = {}
            for entry in content["annotations"]:
                captions.setdefault(entry["image_id"], []).append(entry["caption"])
                table.writerow([entry["image_id"], f"{split}/{names[entry['image_id']]}", entry["caption"], split])
            expected[split] = {str(i): tuple(" ".join(c.split()) for c in each) for i, each in captions.items()}
    config = {"images": root / "images", "captions": tmp_path / "captions.csv"}
    dataset = CsvDataset(CsvConfig.model_validate(config))
    assert {split: len(dataset.samples(split)) for split in dataset.splits} == {"val": 1000, "test": 500}
    assert told(dataset) == expected
