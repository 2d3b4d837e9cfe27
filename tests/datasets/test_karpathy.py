"""Data set "karpathy": the real Flickr8k file, restval, and what is said of broken files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capfw.core.protocols import CapfwWarning, DataError, Dataset, FileSource
from capfw.plugins.datasets.karpathy import KarpathyConfig
from capfw.plugins.datasets.karpathy.model import KarpathyDataset


def image(cocoid: int, split: str, **changes: Any) -> dict[str, Any]:
    """An entry as dataset_coco.json has it."""
    folder = "train2014" if split == "train" else "val2014"
    entry = {"filename": f"{cocoid}.jpg", "filepath": folder, "imgid": cocoid % 100, "cocoid": cocoid, "split": split}
    return entry | {"sentences": [{"raw": f" Image\n{cocoid} .", "tokens": ["image"], "sentid": cocoid}]} | changes


COCO = [image(301, "test"), image(302, "restval"), image(303, "train"), image(304, "val"), image(305, "restval")]


def read(folder: Path, images: object, **options: Any) -> KarpathyDataset:
    for name in ("train2014/303.jpg", *(f"val2014/{i}.jpg" for i in (301, 302, 304, 305))):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    file = folder / "dataset_coco.json"
    file.write_text(images if isinstance(images, str) else json.dumps({"dataset": "coco", "images": images}))
    return KarpathyDataset(KarpathyConfig.model_validate({"captions": file, "images": folder, **options}))


def ids(dataset: KarpathyDataset) -> dict[str, list[Any]]:
    return {split: [sample.image_id for sample in dataset.samples(split)] for split in dataset.splits}


def test_restval_is_left_out_or_added_to_train(tmp_path: Path) -> None:
    dataset = read(tmp_path, COCO)
    assert isinstance(dataset, Dataset)
    assert ids(dataset) == {"train": [303], "val": [304], "test": [301]}
    assert ids(read(tmp_path, COCO, restval="train")) == {"train": [302, 303, 305], "val": [304], "test": [301]}
    assert ids(read(tmp_path, COCO, restval="train", limit=2))["train"] == [302, 303]
    sample = dataset.samples("val")[0]
    assert (sample.source, sample.file_name) == (FileSource(tmp_path / "val2014" / "304.jpg"), "val2014/304.jpg")
    assert sample.references == ("Image 304 .",)


def test_reads_flickr8k_with_a_folder_per_split(shared_data: Path) -> None:
    root = shared_data / "flickr8k"
    options = {"captions": root / "annotations" / "dataset_karpathy.json", "images": root / "images"}
    with pytest.warns(CapfwWarning, match="9 images have a caption more than once"):
        dataset = KarpathyDataset(KarpathyConfig.model_validate({**options, "subfolders": "split"}))
    assert {split: len(dataset.samples(split)) for split in dataset.splits} == {"train": 6000, "val": 1000, "test": 500}
    coco = json.loads((root / "annotations" / "captions_test.json").read_text())
    references: dict[int, list[str]] = {}
    for entry in coco["annotations"]:
        references.setdefault(entry["image_id"], []).append(" ".join(entry["caption"].split()))
    assert {s.image_id: list(s.references) for s in dataset.samples("test")} == references
    with pytest.raises(DataError) as caught:
        KarpathyDataset(KarpathyConfig.model_validate(options))
    assert f"image files are not in {root / 'images'} (7500)" in str(caught.value)
    assert "and 7480 more" in str(caught.value)
    assert 'Set /data/subfolders to "split"' in str(caught.value)


def test_a_repeated_caption_is_a_notice_and_every_copy_a_reference(tmp_path: Path) -> None:
    twice = [{"raw": "A dog ."}, {"raw": "A cat ."}, {"raw": "A  dog ."}]
    with pytest.warns(
        CapfwWarning, match=r"dataset_coco\.json: 1 image has a caption more than once: 304\. Every copy"
    ):
        dataset = read(tmp_path, [COCO[0], COCO[2], image(304, "val", sentences=twice)])
    assert dataset.samples("val")[0].references == ("A dog .", "A cat .", "A dog .")


def test_names_every_entry_at_fault(tmp_path: Path) -> None:
    images = [
        image(301, "training"),
        image(302, "val", filename=None),
        image(303, "train", sentences=[]),
        image(304, "val", sentences=[{"raw": " "}]),
        image(305, "test") | {"cocoid": None},
    ]
    with pytest.raises(DataError) as caught:
        read(tmp_path, images)
    assert [line.strip() for line in str(caught.value).splitlines()[1:-1]] == [
        "/images/0: split 'training' is not train, restval, val or test",
        "/images/1: `filename` and `filepath` must be strings",
        "/images/2: no sentences",
        "/images/3: a sentence without text (`raw`)",
        "/images/4: `cocoid` must be a number or a string",
    ]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ('{"images": \n x}', "line 2, column 2: not JSON"),
        ("[]", "not in Karpathy's format"),
        ([], "not in Karpathy's format"),
        ([COCO[0], COCO[0]], "images are in the file more than once, by cocoid (1):\n  301"),
        ([image(309, "test")], "(1):\n  val2014/309.jpg\n  Correct /data/images."),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, images: object, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, images)
    assert "dataset_coco.json" in str(caught.value)
    assert said in str(caught.value)
