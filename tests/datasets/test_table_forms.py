"""Tables as programs export them: encodings, delimiters, several caption columns, names of splits, JSON lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capfw.core.protocols import CapfwWarning, DataError, Dataset, UnclearColumns
from capfw.plugins.datasets.tables import CsvConfig, JsonlConfig
from capfw.plugins.datasets.tables.model import CsvDataset, JsonlDataset

ALL = {"shares": {"val": 0, "test": 0}}
EXPECTED = {"a.jpg": ("A dog, running",), "b.jpg": ("Ein Vögelchen\x2e",), "c.jpg": ("two lines",)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).touch()
    return folder


def proposed(images: Path, content: str | bytes, name: str = "captions.csv", **columns: list[str]) -> Dataset:
    """The data set with the options that `capfw init` finds, and all images in one split where it would divide them."""
    table = images.parent / name
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    for config, dataset in ((CsvConfig, CsvDataset), (JsonlConfig, JsonlDataset)):
        options = config.for_files(images=images, captions=table, columns=columns)
        if options is not None:
            return dataset(
                options.model_copy(update={"shares": options.shares and type(options.shares)(val=0, test=0)})
            )
    raise AssertionError("not recognized")


def captions(dataset: Dataset) -> dict[Any, tuple[str, ...]]:
    return {sample.image_id: sample.references for split in dataset.splits for sample in dataset.samples(split)}


PLAIN = 'file,caption\r\na.jpg,"A dog, running"\r\nb.jpg,Ein Vögelchen.\r\nc.jpg,"two\nlines"\r\n'
SEMICOLONS = 'file;caption\r\na.jpg;A dog, running\r\nb.jpg;Ein Vögelchen.\r\nc.jpg;"two\nlines"\r\n'


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(PLAIN.encode("utf-8-sig"), id="Excel, CSV UTF-8"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16"),
        pytest.param("\ufeff".encode("utf-16-be") + PLAIN.encode("utf-16-be"), id="UTF-16 big-endian"),
        pytest.param(SEMICOLONS, id="semicolons"),
        pytest.param("sep=;\r\n" + SEMICOLONS, id="Excel's hint"),
        pytest.param(("\ufeff" + '"sep=;"\r\n' + SEMICOLONS).encode(), id="Excel's hint in quotes, with a mark"),
        pytest.param(SEMICOLONS.replace(";", "\t").encode("utf-16"), id="Excel, Unicode text"),
        pytest.param(SEMICOLONS.replace(";", "|"), id="bars"),
        pytest.param(PLAIN.replace("\r\n", ",,\r\n") + ",,,\r\n,,,\r\n", id="empty last columns and rows"),
        pytest.param(PLAIN.replace("caption\r\n", "caption,,\r\n") + "\r\n\r\n", id="empty headings alone"),
        pytest.param(",\r\n\r\n" + PLAIN, id="empty first rows"),
        pytest.param(PLAIN.replace("\r\n", "\r"), id="old Mac"),
        pytest.param('"file","caption, in English"\r\n'.replace(", in English", "") + PLAIN[14:], id="quoted headings"),
    ],
)
def test_exports_of_spreadsheets_are_read(images: Path, content: str | bytes) -> None:
    assert captions(proposed(images, content)) == EXPECTED


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest of an xlsx", "this is a workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest of an xls", "this is a workbook"),
        ("file,caption\na.jpg,x\n".encode("utf-16-le"), "not UTF-8 text: it has zero bytes, as UTF-16 without"),
        ("file,caption\na.jpg,x\n".encode("utf-16")[:-1], "not UTF-16 at byte"),
    ],
)
def test_other_encodings_are_refused_in_words(images: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        proposed(images, content, "captions.xlsx")
    for words in ("captions.xlsx: ", said, "Save it as CSV UTF-8: in Excel with File > Save As"):
        assert words in str(caught.value)
    with pytest.raises(DataError, match="Save it as CSV UTF-8"):
        CsvDataset(CsvConfig.model_validate({"images": images, "captions": images.parent / "captions.xlsx", **ALL}))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("file,caption1,caption2", ["caption1", "caption2"]),
        ("file,caption_1,caption_2", ["caption_1", "caption_2"]),
        ("Image,Caption 1,Caption 2", ["Caption 1", "Caption 2"]),
        ("file,caption,caption2", ["caption", "caption2"]),
        ("file,caption,caption.1", ["caption", "caption.1"]),
        ("file,captions1,captions2", ["captions1", "captions2"]),
        ("file,text1,text2", ["text1", "text2"]),
        ("file,caption,caption", ["caption", "caption"]),
    ],
)
def test_several_columns_of_captions_are_taken_together(images: Path, header: str, columns: list[str]) -> None:
    with pytest.warns(CapfwWarning) as caught:
        dataset = proposed(images, f"{header}\na.jpg,one,two\nb.jpg,,three\nc.jpg,four,\n")
    assert captions(dataset) == {"a.jpg": ("one", "two"), "b.jpg": ("three",), "c.jpg": ("four",)}
    said = f"the captions of 2 columns are taken together: {', '.join(columns)}."
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [said]


def test_a_row_without_any_caption_is_wrong(images: Path) -> None:
    table = images.parent / "captions.csv"
    table.write_text("file,caption1,caption2\na.jpg,one,two\nb.jpg, ,\n")
    options = {"images": images, "captions": table, "columns": {"caption": ["caption1", "caption2"]}, **ALL}
    with pytest.raises(DataError, match=r"1 row is wrong\.\n  line 3: empty caption"):
        CsvDataset(CsvConfig.model_validate(options))
    options["columns"] = {"caption": ["caption1", "caption3"]}
    with pytest.raises(DataError, match=r'line 1: no column "caption3"; .* Did you mean "caption2"'):
        CsvDataset(CsvConfig.model_validate(options))


def test_splits_go_by_many_names(images: Path) -> None:
    for names in (
        "train,val,test",
        "Train,validation,Test",
        "TRAIN,dev,TEST",
        "training,valid,testing",
        "train,eval,test",
    ):
        rows = [f"{file},x,{split}" for file, split in zip(("a.jpg", "b.jpg", "c.jpg"), names.split(","), strict=True)]
        dataset = proposed(images, "\n".join(["file,caption,split", *rows]))
        assert {split: [s.image_id for s in dataset.samples(split)] for split in dataset.splits} == {
            "train": ["a.jpg"],
            "val": ["b.jpg"],
            "test": ["c.jpg"],
        }


def test_eval_beside_another_validation_split_is_no_guess(images: Path) -> None:
    with pytest.raises(DataError) as caught:
        proposed(images, "file,caption,split\na.jpg,x,train\nb.jpg,x,dev\nc.jpg,x,eval\n")
    assert 'line 4: split "eval" may be val or test, and "dev" is val: name it test or val' in str(caught.value)


def test_every_problem_of_the_columns_is_named_at_once(images: Path) -> None:
    table = images.parent / "captions.csv"
    table.write_text("foto,satz,split\na.jpg,x,train\nb.jpg,x,prod\nc.jpg,x\n")
    with pytest.raises(DataError) as caught:
        CsvDataset(CsvConfig.model_validate({"images": images, "captions": table, "on_bad_row": "skip"}))
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines == [
        f"{table}: 2 columns are wrong, 2 rows are wrong.",
        'line 1: no column "file"; the columns are foto, satz, split',
        'line 1: no column "caption"; the columns are foto, satz, split',
        'line 3: split "prod" is not train, val or test',
        "line 4: 2 columns, not 3 (text with a ',' in it needs quotes)",
        "Name the columns in the first line, or set /data/columns (and /data/delimiter of a CSV table). "
        'Correct the rows, or set /data/on_bad_row to "skip" to leave them out.',
    ]
    with pytest.raises(UnclearColumns) as unclear:
        proposed(images, table.read_bytes())
    assert [question.role for question in unclear.value.questions] == ["file", "caption"]
    for words in (
        "file names usually are",
        "captions usually are",
        'split "prod"',
        "--column file=NAME --column caption=",
    ):
        assert words in str(unclear.value)


def test_a_column_that_is_named_must_be_there(images: Path) -> None:
    table = images.parent / "captions.csv"
    table.write_text("file,caption\na.jpg,x\n")
    options = {"images": images, "captions": table, "columns": {"split": "fold"}, **ALL}
    with pytest.raises(DataError, match='line 1: no column "fold"; the columns are file, caption'):
        CsvDataset(CsvConfig.model_validate(options))
    resolved = CsvConfig.model_validate({**options, "columns": {}}).model_dump()  # has the names "split" and "image_id"
    assert captions(CsvDataset(CsvConfig.model_validate(resolved))) == {"a.jpg": ("x",)}


def test_columns_of_the_user_are_taken_or_refused(images: Path) -> None:
    table = "Bild;Beschreibung;Titel\na.jpg;one;uno\nb.jpg;two;due\nc.jpg;three;tre\n"
    with pytest.warns(CapfwWarning, match=r"captions\.csv: columns that are not read: Beschreibung\."):
        dataset = proposed(images, table, file=["Bild"], caption=["Titel"])
    assert captions(dataset) == {"a.jpg": ("uno",), "b.jpg": ("due",), "c.jpg": ("tre",)}
    with pytest.raises(DataError) as caught:
        proposed(images, table, file=["Bild", "Titel"], caption=["Beschreibun"], artist=["x"])
    for words in (
        'no column "Beschreibun" for the captions. Did you mean "Beschreibung"?',
        '"artist" is no role of a column',
        "one column holds the file names",
        "The columns are Bild, Beschreibung, Titel.",
    ):
        assert words in str(caught.value)


def test_a_table_without_column_names_says_so(images: Path) -> None:
    with pytest.raises(DataError) as caught:
        proposed(images, "a.jpg\tA dog.\nb.jpg\tA cat.\n")
    assert "captions.csv, line 1: the first line must name the columns, and it holds a row: a.jpg" in str(caught.value)
    assert "Insert a first line: file\tcaption." in str(caught.value)


def test_ids_are_file_names_where_no_other_column_is(images: Path) -> None:
    with pytest.warns(CapfwWarning, match='"a" is a.jpg'):
        dataset = proposed(images, "image_id,caption\na,one\nb,two\nc,three\n")
    assert {s.image_id: s.file_name for s in dataset.samples("train")} == {"a": "a.jpg", "b": "b.jpg", "c": "c.jpg"}


ITEMS = [{"image": "a.jpg", "caption": "one"}, {"image": "b.jpg", "caption": "two"}, {"image": "c.jpg", "caption": "x"}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_json_list_is_read_as_lines_are(images: Path, indent: int | None, encoding: str) -> None:
    dataset = proposed(images, json.dumps(ITEMS, indent=indent).encode(encoding), "captions.json")
    assert captions(dataset) == {"a.jpg": ("one",), "b.jpg": ("two",), "c.jpg": ("x",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[\n{"file": "a.jpg", "caption": "x"},\n{"file": "a.jpg",\n"caption": 3}\n]',
            'line 3: "caption" must be a string',
        ),
        ('[{"file": "a.jpg", "caption": "x"},\n7]', "line 2: not a JSON object"),
        ('[{"file": "a.jpg", "caption": "x"}\n{}]', "line 2: not JSON: the list needs a comma or its end here"),
        ('[{"file": "a.jpg", "caption": "x"},\n{]', "line 2: not JSON: Expecting property name"),
        ('[{"file": "a.jpg", "caption": "x"}', "line 1: not JSON: the list needs a comma or its end here"),
        ('[{"file": "a.jpg", "caption": "x"},]', "line 1: not JSON: Expecting value at column 36"),
        ("[]", 'no column "file"; there are no columns'),
    ],
)
def test_faults_of_a_json_list_have_their_lines(images: Path, text: str, said: str) -> None:
    table = images.parent / "captions.json"
    table.write_text(text)
    with pytest.raises(DataError) as caught:
        JsonlDataset(JsonlConfig.model_validate({"images": images, "captions": table, **ALL}))
    assert said in str(caught.value)


def test_several_keys_of_captions(images: Path) -> None:
    lines = [
        {"file": "a.jpg", "caption_1": "one", "caption_2": "two"},
        {"file": "b.jpg", "caption_1": "three", "caption_2": None},
        {"file": "c.jpg", "caption_2": ""},
    ]
    with pytest.warns(CapfwWarning, match="the captions of 2 columns are taken together: caption_1, caption_2"):
        dataset = proposed(images, "\n".join(map(json.dumps, lines[:2])))
    assert captions(dataset) == {"a.jpg": ("one", "two"), "b.jpg": ("three",)}
    table = images.parent / "captions.jsonl"
    table.write_text("\n".join(map(json.dumps, lines)))
    options = {"images": images, "captions": table, "columns": {"caption": ["caption_1", "caption_2"]}, **ALL}
    with pytest.raises(DataError, match=r"1 row is wrong\.\n  line 3: empty caption"):
        JsonlDataset(JsonlConfig.model_validate(options))


def test_a_key_that_no_line_has_is_one_problem(images: Path) -> None:
    table = images.parent / "captions.jsonl"
    table.write_text("\n".join('{"bild": "a.jpg", "caption": "x"}' for _ in range(30)))
    with pytest.raises(DataError) as caught:
        JsonlDataset(JsonlConfig.model_validate({"images": images, "captions": table, **ALL}))
    assert '1 column is wrong.\n  line 1: no column "file"; the columns are bild, caption' in str(caught.value)
