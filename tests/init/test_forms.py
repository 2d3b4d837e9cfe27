"""`capfw init`: each form of captions is found by looking."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from capfw.core.spec import load_spec

from .photos import NUM_IMAGES, ROWS, are_divided, invoke, split_sizes, write_csv, written


def as_coco(home: Path) -> Path:
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(NUM_IMAGES)]
    annotations = [{"image_id": int(name.split(".")[0]), "caption": caption} for name, caption in ROWS]
    (home / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return home / "coco.json"


def as_karpathy(home: Path) -> Path:
    splits = ["train"] * 12 + ["restval"] * 2 + ["val"] * 3 + ["test"] * 3
    images = [
        {"filename": f"{i}.jpg", "imgid": i, "split": split, "sentences": [{"raw": f"number {i}"}]}
        for i, split in enumerate(splits)
    ]
    (home / "karpathy.json").write_text(json.dumps({"images": images}))
    return home / "karpathy.json"


def as_jsonl(home: Path) -> Path:
    lines = [json.dumps({"file": f"{i}.jpg", "captions": [f"number {i}"]}) for i in range(NUM_IMAGES)]
    (home / "captions.txt").write_text("\n".join(lines))
    return home / "captions.txt"


def as_jsonl_with_splits(home: Path) -> Path:
    splits = ["val", "test", *["train"] * (NUM_IMAGES - 2)]
    lines = [json.dumps({"file": f"{i}.jpg", "caption": "x", "split": split}) for i, split in enumerate(splits)]
    (home / "captions.jsonl").write_text("\n".join(lines))
    return home / "captions.jsonl"


def as_image_folder_of_hugging_face(home: Path) -> Path:
    lines = [json.dumps({"file_name": f"{i}.jpg", "text": f"number {i}"}) for i in range(NUM_IMAGES)]
    (home / "metadata.jsonl").write_text("\n".join(lines))
    return home / "metadata.jsonl"


def as_tsv(home: Path) -> Path:
    return write_csv(home / "captions.tsv", ("Image", "Text"), "\t")


def as_semicolons(home: Path) -> Path:
    return write_csv(home / "captions", ("filename", "description"), ";")


@pytest.mark.parametrize(
    ("make", "options", "expected", "sizes"),
    [
        (
            as_coco,
            [],
            {"name": "coco", "all": {"images": "photos", "captions": "coco.json"}},
            None,
        ),
        (as_karpathy, [], {"name": "karpathy"}, {"train": 12, "val": 3, "test": 3}),
        (as_karpathy, ["--set=/data/restval=train"], {"restval": "train"}, {"train": 14, "val": 3, "test": 3}),
        (as_jsonl, [], {"name": "jsonl", "shares": {"val": 0.1, "test": 0.1}}, None),
        (as_jsonl_with_splits, [], {"name": "jsonl"}, {"train": 18, "val": 1, "test": 1}),
        (
            as_image_folder_of_hugging_face,
            [],
            {"name": "jsonl", "columns": {"file": "file_name", "caption": "text"}},
            None,
        ),
        (as_tsv, [], {"delimiter": "\t", "columns": {"file": "Image", "caption": "Text"}}, None),
        (as_semicolons, [], {"name": "csv", "delimiter": ";"}, None),
    ],
)
def test_form_of_the_captions_is_found_by_looking(
    home: Path,
    make: Callable[[Path], Path],
    options: list[str],
    expected: dict[str, object],
    sizes: dict[str, int] | None,
) -> None:
    result = invoke("--images", "photos", "--captions", make(home), *options)

    found = split_sizes(result)
    assert found == sizes or (sizes is None and are_divided(found))
    data = written(home)["data"]
    assert {key: data[key] for key in expected} == expected
    assert ("shares" in data) == (sizes is None)
    assert load_spec(home / "spec.json").data.name == data["name"]


def test_karpathy_files_in_a_folder_per_split_are_found(home: Path) -> None:
    for split in ("train", "restval", "val", "test"):
        shutil.copytree(home / "photos", home / "photos" / split)

    result = invoke("--images", "photos", "--captions", as_karpathy(home))

    assert (result.exit_code, written(home)["data"]["subfolders"]) == (0, "split")


def test_a_caption_that_stands_twice_is_reported_and_stops_nothing(home: Path) -> None:
    """As in the table that the official Flickr8k is handed on in."""
    lines = "".join(f"{file},{caption} .\n" for file, caption in [*ROWS, ROWS[0]])
    (home / "captions.txt").write_text(f"image,caption\n{lines}")

    result = invoke("--images", "photos", "--captions", "captions.txt")

    assert are_divided(split_sizes(result))
    assert f"csv: {len(ROWS) + 1} captions" in result.stdout
    assert "captions.txt: 1 image has a caption more than once: 0.jpg. Every copy is kept" in result.stderr


BAD = b"""file,caption
0.jpg,one
1.jpg,two
nowhere.jpg,three
2.jpg,
0.jpg,one
3.jpg,caf\xe9
4.jpg,four
"""
REPORT = [
    "line 4: no file nowhere.jpg in",
    "line 5: empty caption",
    "line 7: not UTF-8",
]


def test_bad_rows_are_all_told_and_nothing_is_written(home: Path) -> None:
    (home / "captions.csv").write_bytes(BAD)

    result = invoke("--images", "photos", "--captions", "captions.csv")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "3 rows are wrong." in result.stderr
    for line in REPORT:
        assert line in result.stderr
    assert "Save the table as UTF-8 (in Excel: CSV UTF-8)." in result.stderr
    assert (
        "spec.json was not written; --set POINTER=VALUE sets an option in it, for example --set /data/on_bad_row=skip."
        in (result.stderr)
    )
    assert not list(home.glob("*.json"))

    skipped = invoke("--images", "photos", "--captions", "captions.csv", "--set", "/data/on_bad_row=skip")
    assert are_divided(split_sizes(skipped), 3)
    assert all(line in skipped.stderr for line in REPORT)
