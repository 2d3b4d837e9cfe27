"""`read_captions` and `matched`: captions in the files that people have, and the images that two files share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from capfw.core.captions import matched, read_captions
from capfw.core.errors import DataError
from capfw.core.protocols import CaptionEntry, Component, DatasetConfig, hookimpl
from capfw.core.registry import Registry

KARPATHY = {
    "images": [
        {"imgid": 7, "filename": "a.jpg", "split": "train", "sentences": [{"raw": "a dog"}]},
        {"imgid": 8, "filename": "b.jpg", "split": "val", "sentences": [{"raw": "a  cat"}, {"raw": "one cat"}]},
    ]
}
FORMS = {
    "results.json": '[{"image_id": "a", "caption": "a dog"}, {"image_id": "b", "caption": "a cat"}, '
    '{"image_id": "b", "caption": "one cat"}]',
    "coco.json": json.dumps(
        {
            "images": [{"id": "a", "file_name": "a.jpg"}, {"id": "b", "file_name": "b.jpg"}],
            "annotations": [
                {"image_id": i, "caption": text} for i, text in [("a", "a dog"), ("b", "a cat"), ("b", "one cat")]
            ],
        }
    ),
    "captions.csv": "image_id,caption\na,a dog\nb,a cat\nb,one cat\n",
    "semicolons.csv": "\ufeffimage_id;caption 1;caption 2\na;a dog;\nb;a cat;one cat\n",
    "captions.tsv": "image_id\ttext\na\ta dog\nb\ta cat\nb\tone cat\n",
    "captions.jsonl": '{"image_id": "a", "caption": "a dog"}\n{"image_id": "b", "captions": ["a cat", "one cat"]}\n',
    "list.json": '[{"file": "a", "captions": ["a dog"]}, {"file": "b", "captions": ["a cat", "one cat"]}]',
    "ours.jsonl": '{"file": "a", "captions": [{"caption": "a dog", "log_prob": -1}]}\n'
    '{"file": "b", "captions": [{"caption": "a cat"}, {"caption": "one cat"}]}\n{"file": "c", "error": "unreadable"}\n',
    "ours.csv": "file,caption,log_prob,error\na,a dog,-1,\nb,a cat,-2,\nb,one cat,-3,\nc,,,unreadable\n",
    "by_name.json": '{"a": "a dog", "b": ["a cat", "one cat"]}',
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def _write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", FORMS)
def test_every_form_holds_the_same_captions(name: str, tmp_path: Path, registry: Registry) -> None:
    found = read_captions(_write(tmp_path, name, FORMS[name]), registry)
    assert found.every() == {"a": ("a dog",), "b": ("a cat", "one cat")}
    assert found.best() == {"a": "a dog", "b": "a cat"}


def test_a_split_of_a_file_is_chosen_by_any_usual_name(tmp_path: Path, registry: Registry) -> None:
    karpathy = _write(tmp_path, "dataset.json", json.dumps(KARPATHY))
    assert read_captions(karpathy, registry).every() == {7: ("a dog",), 8: ("a cat", "one cat")}
    assert read_captions(karpathy, registry, split="validation").every() == {8: ("a cat", "one cat")}
    table = _write(tmp_path, "t.csv", "file,caption,split\na.jpg,a dog,Train\nb.jpg,a cat,dev\n")
    assert read_captions(table, registry, split="val").every() == {"b.jpg": ("a cat",)}
    with pytest.raises(DataError, match='no image of this file is in split "test"') as err:
        read_captions(table, registry, split="test")
    assert "Splits: Train, dev." in str(err.value)
    plain = _write(tmp_path, "plain.csv", "file,caption\na.jpg,a dog\n")
    with pytest.raises(DataError, match=r"names no splits.\n  Leave out --split"):
        read_captions(plain, registry, split="test")


def test_columns_of_other_names_are_named(tmp_path: Path, registry: Registry) -> None:
    table = _write(tmp_path, "t.csv", "Bild,Beschreibung\na.jpg,ein Hund\n")
    with pytest.raises(DataError, match="no column is called as file names usually are") as err:
        read_captions(table, registry, flag="--reference-column")
    assert "The columns are Bild, Beschreibung." in str(err.value)
    assert "--reference-column file=NAME --reference-column caption=NAME" in str(err.value)
    named = {"file": ["Bild"], "caption": ["Beschreibung"]}
    assert read_captions(table, registry, columns=named).every() == {"a.jpg": ("ein Hund",)}
    with pytest.raises(DataError, match='no column "Bilt"'):
        read_captions(table, registry, columns={**named, "file": ["Bilt"]})


@pytest.mark.parametrize("header", ["file,caption,log_prob,error", "file,caption,note,more"])
def test_an_empty_caption_is_one_where_the_image_has_no_other(header: str, tmp_path: Path, registry: Registry) -> None:
    table = _write(tmp_path, "t.csv", f"{header}\na.jpg,,-1,\nb.jpg,a cat,-2,\n")
    found = read_captions(table, registry)
    assert found.best() == {"a.jpg": "", "b.jpg": "a cat"}
    assert found.every() == {"b.jpg": ("a cat",)}


def test_a_table_in_another_encoding_is_saved_anew(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "t.csv").write_bytes("file,caption\na.jpg,ein Hündchen\n".encode("cp1252"))
    with pytest.raises(DataError, match="line 2: not UTF-8\n  Save it as CSV UTF-8"):
        read_captions(tmp_path / "t.csv", registry)


def test_wrong_rows_are_named_by_their_lines(tmp_path: Path, registry: Registry) -> None:
    table = _write(
        tmp_path, "t.csv", "file,caption,split\na.jpg,a dog,val\n,a cat,val\nb.jpg,x,y,z\na.jpg,a dog,test\n"
    )
    with pytest.raises(DataError, match=re.escape(f"{table}: 3 rows are wrong.")) as err:
        read_captions(table, registry)
    for said in (
        "line 3: no file name",
        "line 4: 4 columns, not 3",
        'line 5: a.jpg is in split "test" here, and "val"',
    ):
        assert said in str(err.value)


def test_images_are_matched_by_id_then_by_file_name(tmp_path: Path, registry: Registry) -> None:
    images = [{"id": i, "file_name": f"COCO_{i}.jpg"} for i in (1, 2, 3, 4)]
    annotations = [{"image_id": i, "caption": "a dog"} for i in (1, 2, 3, 4)]
    content = json.dumps({"images": images, "annotations": annotations})
    references = read_captions(_write(tmp_path, "references.json", content), registry)
    rows = ["1,one", "photos/COCO_2.jpg,two", "C:\\photos\\coco_3.JPG,three", "COCO_4,four", "other.jpg,five"]
    table = _write(tmp_path, "made.csv", "\n".join(["file,caption", *rows]))
    found, notices = matched(read_captions(table, registry), references)
    assert found.best() == {1: "one", 2: "two", 3: "three", 4: "four", "other.jpg": "five"}
    assert notices == [
        "Matched 2 images by file name, such as photos/COCO_2.jpg with 2.",
        "Matched 1 image by file name, such as COCO_4 with 4.",
    ]


def test_a_name_that_fits_two_images_matches_none(tmp_path: Path, registry: Registry) -> None:
    references = read_captions(_write(tmp_path, "r.csv", "file,caption\na/1.jpg,x\nb/1.jpg,y\n2.jpg,z\n"), registry)
    made = _write(tmp_path, "c.csv", "file,caption\n1.jpg,x\nc/2.jpg,z\nd/2.jpg,z\nv1.5,w\n")
    found, notices = matched(read_captions(made, registry), references)
    assert list(found.best()) == ["1.jpg", "c/2.jpg", "d/2.jpg", "v1.5"]
    assert notices == []


class _Config(DatasetConfig):
    @classmethod
    def captions_of(cls, file: Path, *, columns: object) -> list[CaptionEntry] | None:
        if "lines" in file.name:
            return [CaptionEntry(number, (line,)) for number, line in enumerate(file.read_text().splitlines())]
        if "broken" in file.name:
            raise ZeroDivisionError("odd")
        return None


class _Plugin:
    @hookimpl
    def register_datasets(self) -> list[Component]:
        return [Component("lines", _Config, "x.model:X", "A data set.", _Config())]


def test_a_data_set_of_another_package_reads_its_own_files(tmp_path: Path) -> None:
    registry = Registry.discover().with_plugins(_Plugin())
    assert read_captions(_write(tmp_path, "lines.txt", "a dog\na cat\n"), registry).best() == {0: "a dog", 1: "a cat"}
    with pytest.raises(DataError, match='Data set "lines" failed to read it: ZeroDivisionError: odd'):
        read_captions(_write(tmp_path, "broken.txt", "a dog\n"), registry)
    with pytest.raises(DataError, match="several data sets read this file: csv, lines"):
        read_captions(_write(tmp_path, "lines.csv", FORMS["captions.csv"]), registry)
