"""Data set "coco": real Flickr8k and COCO files, and what is said of broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from capfw.core.errors import SpecError
from capfw.core.protocols import CapfwWarning, DataError, Dataset, FileSource
from capfw.plugins.datasets.coco import CocoConfig
from capfw.plugins.datasets.coco.model import CocoDataset


def entries(**changes: Any) -> dict[str, Any]:
    """A captions file of two images, with sections replaced."""
    return {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "sub/b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 8, "caption": "  A dog\n runs . "},
            {"id": 2, "image_id": 7, "caption": "A cat ."},
            {"id": 3, "image_id": 8, "caption": "A dog runs ."},
        ],
    } | changes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "images" / "sub" / "b.jpg").touch()
    return tmp_path / "images"


def read(images: Path, content: object, **options: object) -> CocoDataset:
    file = images.parent / "captions.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return CocoDataset(CocoConfig.model_validate({"train": {"images": images, "captions": file, **options}}))


def test_reads_every_split_of_flickr8k(shared_data: Path) -> None:
    root = shared_data / "flickr8k"
    config = {
        split: {"images": root / "images" / split, "captions": root / "annotations" / f"captions_{split}.json"}
        for split in ("train", "val", "test")
    }
    with pytest.warns(CapfwWarning, match="captions_train.json: 9 images have a caption more than once: .* and 4 more"):
        dataset = CocoDataset(CocoConfig.model_validate(config))
    assert isinstance(dataset, Dataset)
    assert dataset.splits == ("train", "val", "test")
    every = {split: dataset.samples(split) for split in dataset.splits}
    assert {split: len(samples) for split, samples in every.items()} == {"train": 6000, "val": 1000, "test": 500}
    samples = [sample for split in every.values() for sample in split]
    assert {len(sample.references) for sample in samples} == {5}
    assert len({sample.image_id for sample in samples}) == 7500
    assert every["test"][0].source == FileSource(root / "images" / "test" / every["test"][0].file_name)


def test_reads_coco_2017_and_normalises_white_space(shared_data: Path) -> None:
    root = shared_data / "coco_mini"
    config = {
        "train": {"images": root / "train2017", "captions": root / "annotations/captions_train2017.json"},
        "val": {"images": root / "val2017", "captions": root / "annotations/captions_val2017.json"},
    }
    dataset = CocoDataset(CocoConfig.model_validate(config))
    assert {split: len(dataset.samples(split)) for split in dataset.splits} == {"train": 65, "val": 48}
    captions = [caption for sample in dataset.samples("train") for caption in sample.references]
    assert len(captions) == 325
    assert all(caption == " ".join(caption.split()) for caption in captions)


def test_keeps_the_order_of_the_images_and_repeated_captions(images: Path) -> None:
    with pytest.warns(
        CapfwWarning, match=r"captions\.json: 1 image has a caption more than once: 8\. Every copy is kept"
    ):
        first, second = read(images, entries()).samples("train")
    assert (first.image_id, first.references) == (7, ("A cat .",))
    assert second.references == ("A dog runs .", "A dog runs .")
    assert (second.source, second.file_name) == (FileSource(images / "sub" / "b.jpg"), "sub/b.jpg")


def test_limit_needs_only_the_files_of_the_images_it_keeps(images: Path) -> None:
    (images / "sub" / "b.jpg").unlink()
    assert [sample.image_id for sample in read(images, entries(), limit=1).samples("train")] == [7]


def test_counts_images_without_captions(images: Path) -> None:
    more = [*entries()["images"], {"id": 9, "file_name": "nowhere.jpg"}]
    with pytest.warns(CapfwWarning) as caught:
        dataset = read(images, entries(images=more))
    assert "1 of 3 images have no caption" in str(caught[0].message)
    assert [sample.image_id for sample in dataset.samples("train")] == [7, 8]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"images": [],\n "annotations": [}', ["line 2, column 18", "not JSON"]),
        ([1, 2], ["captions.json", "no list `images`", '{"images": [{"id", "file_name"}]']),
        (entries(annotations=[{"image_id": 7}]), ["/annotations/0", "`caption` must be a string"]),
        (entries(images=[{"id": 7, "file_name": None}]), ["/images/0", "`file_name` must be a string"]),
        (entries(annotations=[{"image_id": 7, "caption": 5}]), ["/annotations/0", "`caption` must be a string"]),
        (entries(annotations=[{"image_id": 7, "caption": " \n"}]), ["captions are empty (1): /annotations/0"]),
        (entries(images=entries()["images"][:1] * 2), ["image ids are in `images` more than once (1): 7", "one entry"]),
        (
            entries(annotations=[{"image_id": i, "caption": "x"} for i in range(20, 27)]),
            ["captions have image ids that are not in `images` (7): 20, 21, 22, 23, 24 and 2 more."],
        ),
        (entries(annotations=[]), ["no image has a caption"]),
    ],
)
def test_says_what_is_wrong_with_a_file(images: Path, content: object, said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read(images, content)
    for words in ["captions.json", *said]:
        assert words in str(caught.value)


def test_names_missing_images_and_the_folder(images: Path) -> None:
    (images / "a.jpg").unlink()
    with pytest.raises(DataError) as caught:
        read(images, entries())
    assert f"image files are not in {images} (1): a.jpg." in str(caught.value)
    assert 'Correct "images"' in str(caught.value)


def test_needs_a_split_and_existing_places(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at least one split"):
        CocoConfig()
    with pytest.raises(ValidationError, match="there is no folder at") as caught:
        CocoConfig.model_validate({"test": {"images": tmp_path / "no", "captions": tmp_path / "no.json"}})
    assert [error["loc"] for error in caught.value.errors()] == [("test", "images"), ("test", "captions")]


def test_one_file_is_divided_by_shares(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(40)]
    for name in names:
        (tmp_path / name).touch()
    file = tmp_path / "captions.json"
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    annotations = [{"image_id": i, "caption": f"{word} {i}"} for i in range(40) for word in ("one", "two")]
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    part = {"images": tmp_path, "captions": file}

    def divided(**shares: float) -> dict[str, list[Any]]:
        dataset = CocoDataset(CocoConfig.model_validate({"all": part, "shares": {"val": 0.2, "test": 0.2, **shares}}))
        return {split: [sample.image_id for sample in dataset.samples(split)] for split in dataset.splits}

    first = divided()
    assert sorted(image_id for ids in first.values() for image_id in ids) == list(range(40))
    assert list(first) == ["train", "val", "test"]
    assert divided() == first
    assert divided(seed=1) != first
    assert list(divided(test=0)) == ["train", "val"]
    for options, said in (
        ({"all": part}, '"all" needs shares'),
        ({"train": part, "shares": {}}, '"shares" divides the images of "all"'),
        ({"all": part, "val": part, "shares": {}}, '"all" already holds every split'),
        ({}, "name at least one split"),
    ):
        with pytest.raises(ValidationError, match=said):
            CocoConfig.model_validate(options)
