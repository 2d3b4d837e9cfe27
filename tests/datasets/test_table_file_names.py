"""File names as people write them find their file, with one notice, or the nearest one is offered."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from capfw.core.protocols import CapfwWarning, DataError
from capfw.plugins.datasets.tables import CsvConfig
from capfw.plugins.datasets.tables.model import CsvDataset

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Vögel.jpg") for form in ("NFC", "NFD"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make(tmp_path / "photos", "1.jpg", "2.PNG", "sub/3.jpg", COMPOSED, "1.txt", ".hidden.jpg", "._1.jpg")


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def files(
    images: Path, names: Sequence[str], table: Path | None = None, header: str = "file", **options: str
) -> list[str]:
    """The files of a table with these names, in its order; each with a caption of its own."""
    table = table or images.parent / "captions.csv"
    rows = [f"{name},caption {number}" for number, name in enumerate(names)]
    table.write_text("\n".join([f"{header},caption", *rows]), encoding="utf-8")
    config = {"images": images, "captions": table, "shares": {"val": 0, "test": 0}, **options}
    dataset = CsvDataset(CsvConfig.model_validate(config))
    samples = dataset.samples("train")
    assert all(sample.source.path == images / sample.file_name for sample in samples)
    assert all(sample.image_id == sample.file_name for sample in samples)
    return [sample.file_name for sample in samples]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("1", "1.jpg"),
        ("2", "2.PNG"),
        ("1.JPG", "1.jpg"),
        ("2.png", "2.PNG"),
        ("./1.JPG", "1.jpg"),
        ("photos/1.jpg", "1.jpg"),
        ("Photos/1", "1.jpg"),
        ("data/photos/1.jpg", "1.jpg"),
        (r"photos\1.jpg", "1.jpg"),
        (r"C:\Users\Ann\Photos\1.jpg", "1.jpg"),
        (r"sub\3.jpg", "sub/3.jpg"),
        (r"Sub\3", "sub/3.jpg"),
        ("3.jpg", "sub/3.jpg"),
        (DECOMPOSED, COMPOSED),
        (DECOMPOSED.upper(), COMPOSED),
        ("/photos/1.jpg", "1.jpg"),
    ],
)
def test_other_spellings_find_their_file(images: Path, name: str, file: str) -> None:
    table = images.parent / "captions.csv"
    with pytest.warns(CapfwWarning) as caught:
        assert files(images, [name]) == [file]
    said = f'{table}: 1 file name is not spelled as in {images}: "{name}" is {file}.'
    assert [str(warning.message) for warning in caught] == [said]


def test_one_notice_counts_all_and_not_after_skip(images: Path) -> None:
    names = ["1", "photos/2.PNG", "sub/3.jpg", "VÖGEL"]
    with pytest.warns(CapfwWarning, match=r'3 file names are not spelled as in .*: "1" is 1\.jpg, ') as caught:
        assert files(images, names) == ["1.jpg", "2.PNG", "sub/3.jpg", COMPOSED]
    assert len(caught) == 1
    assert files(images, names, on_bad_row="skip") == ["1.jpg", "2.PNG", "sub/3.jpg", COMPOSED]


def test_rows_that_spell_one_file_in_two_ways_are_one_image(images: Path) -> None:
    with pytest.warns(CapfwWarning):
        assert files(images, ["1.jpg", "photos/1.jpg", "1"]) == ["1.jpg"]


def test_the_exact_spelling_wins(tmp_path: Path) -> None:
    images = make(tmp_path / "photos", "a.jpg", "A.jpg", "a", "photos/a.jpg", "a.jpg.jpg")
    names = ["a.jpg", "A.jpg", "a", "photos/a.jpg", "a.jpg.jpg"]
    assert files(images, names) == names
    with pytest.warns(CapfwWarning, match="is photos/a.jpg"):
        assert files(images, ["photos/A.jpg"]) == ["photos/a.jpg"]


@pytest.mark.parametrize(
    ("names", "name", "said"),
    [
        (("a.jpg", "a.png"), "a", "line 2: a may be a.jpg or a.png in "),
        (("a.jpg", "A.jpg"), "A.JPG", "line 2: A.JPG may be A.jpg or a.jpg in "),
        (("x/a.jpg", "y/a.jpg"), "a.jpg", "line 2: a.jpg may be x/a.jpg or y/a.jpg in "),
    ],
)
def test_a_name_that_fits_two_files_names_both(tmp_path: Path, names: tuple[str, ...], name: str, said: str) -> None:
    images = make(tmp_path / "photos", *names)
    with pytest.raises(DataError, match="1 row is wrong") as caught:
        files(images, [name])
    assert said in str(caught.value)


def test_the_split_of_a_row_tells_files_of_one_name_apart(tmp_path: Path) -> None:
    images = make(tmp_path / "photos", "train/1.jpg", "validation/1.jpg", "other/1.jpg")
    (tmp_path / "t.csv").write_text("file,caption,split\n1.jpg,x,train\n1.jpg,y,val\n")
    with pytest.warns(CapfwWarning):
        dataset = CsvDataset(CsvConfig(images=images, captions=tmp_path / "t.csv"))
    assert {s: [i.file_name for i in dataset.samples(s)] for s in dataset.splits} == {
        "train": ["train/1.jpg"],
        "val": ["validation/1.jpg"],
    }


def test_a_folder_in_front_is_left_out_only_if_all_names_have_it_or_it_is_the_image_folder(images: Path) -> None:
    with pytest.warns(CapfwWarning):
        assert files(images, ["old/1.jpg", "old/sub/3.jpg"]) == ["1.jpg", "sub/3.jpg"]
    with pytest.raises(DataError, match=r"line 2: no file other/1\.jpg"):
        files(images, ["other/1.jpg", "sub/3.jpg"])


def test_the_nearest_file_that_no_row_has_is_offered(tmp_path: Path) -> None:
    images = make(tmp_path / "photos", "IMG_0001.jpg", "IMG_0002.jpg", "red-house.jpg", "zebra.jpg")
    with pytest.raises(DataError) as caught:
        files(images, ["IMG_0001.jpg", "IMG_0002.jpg", "IMG_0003.jpg", "redhouse.jpg", "quux.jpg"])
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[1:4] == [
        f"line 4: no file IMG_0003.jpg in {images}",  # the other two have their rows
        f'line 5: no file redhouse.jpg in {images}; did you mean "red-house.jpg"?',
        f"line 6: no file quux.jpg in {images}",
    ]


def test_a_table_inside_the_images_names_files_beside_itself(tmp_path: Path) -> None:
    images = make(tmp_path / "photos", "train/1.jpg", "train/2.jpg", "2.jpg", "train/t.csv")
    assert files(images, ["1.jpg"], images / "train" / "t.csv") == ["train/1.jpg"]
    with pytest.warns(CapfwWarning, match='"1" is train/1.jpg'):
        assert files(images, ["1"], images / "train" / "t.csv") == ["train/1.jpg"]
    with pytest.raises(DataError, match=r"line 2: 2\.jpg may be 2\.jpg or train/2\.jpg in "):
        files(images, ["2.jpg"], images / "train" / "t.csv")


def test_images_in_folders_that_are_called_after_splits(tmp_path: Path) -> None:
    images = make(tmp_path / "photos", "train/1.jpg", "Validation/1.jpg", "test/1.jpg", "other/1.jpg")
    table = tmp_path / "t.csv"
    table.write_text("file,caption\ntrain/1.jpg,x\nValidation/1.jpg,y\ntest/1.jpg,z\n")
    dataset = CsvDataset(CsvConfig(images=images, captions=table))
    assert {s: [i.file_name for i in dataset.samples(s)] for s in dataset.splits} == {
        "train": ["train/1.jpg"],
        "val": ["Validation/1.jpg"],
        "test": ["test/1.jpg"],
    }
    table.write_text("file,caption\ntrain/1.jpg,x\nother/1.jpg,y\n")
    with pytest.raises(DataError, match="1 of 2 images are in no split"):
        CsvDataset(CsvConfig(images=images, captions=table))
