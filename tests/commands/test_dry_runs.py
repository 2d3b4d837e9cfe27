"""`--dry-run`: counts and estimates, and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from capfw import load_spec
from capfw.core.registry import Registry

Capfw = Callable[..., Result]


def test_caption_counts_by_type_and_measures_a_few_images(capfw: Capfw, trained: Path, photos: Path) -> None:
    for number in range(4, 44):
        shutil.copy(photos / "1.png", photos / f"{number}.png")
    (photos / "bad.jpg").write_bytes(b"")
    (photos / "notes.txt").write_text("no image")
    output = photos.parent / "out.csv"
    shared = ("caption", photos, "--run", trained, "--output", output, "--device", "cpu")

    words, plan = capfw(*shared, "--dry-run"), json.loads(capfw(*shared, "--dry-run", "--json").stdout)

    assert words.exit_code == 0
    assert "Images: 44 (PNG: 43; JPEG: 1)" in words.stdout
    assert "Skipped: other files (1 .txt): 1" in words.stdout
    assert "(measured on 16 images" in words.stdout
    assert f" in {output}" in words.stdout
    assert (plan["images"], plan["by_type"]) == (44, {"PNG": 43, "JPEG": 1})
    assert plan["skipped"] == {"other files (1 .txt)": 1}
    assert plan["num_measured"] == 16
    assert plan["seconds"] > 0
    assert sorted(file.name for file in photos.parent.iterdir()) == ["photos"]
    capfw(*shared)
    assert plan["num_bytes"] == pytest.approx(output.stat().st_size, rel=0.25)


def test_extract_counts_what_is_stored_and_writes_nothing(capfw: Capfw, spec_file: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    shutil.copy(spec_file, spec)
    shared = ("extract", spec, "--device", "cpu")
    before = json.loads(capfw(*shared, "--dry-run", "--json").stdout)
    assert list(tmp_path.iterdir()) == [spec]
    assert before["num_images"] == {"train": 12, "val": 4, "test": 4}
    assert before["num_stored"] == {"train": 0, "val": 0, "test": 0}
    assert before["by_type"] == {".png": 20}
    assert before["num_measured"] == 20
    assert before["seconds"] > 0

    assert capfw(*shared).exit_code == 0

    stored = sum(file.stat().st_size for file in Path(before["store"]).glob("shard-*"))
    assert 0 < before["num_bytes"] < stored < before["num_bytes"] + 20_000  # the rest is the headers
    after = json.loads(capfw(*shared, "--dry-run", "--json").stdout)
    assert after["num_stored"] == after["num_images"]
    assert (after["num_measured"], after["seconds"], after["num_bytes"]) == (0, 0, 0)
    words = capfw(*shared, "--dry-run").stdout
    assert "train: 12 images, 12 have features, 0 left to encode" in words
    assert f"Disk: about 0 bytes in {after['store']}" in words


def test_extract_counts_changed_and_unreadable_files(
    capfw: Capfw, spec_file: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "bad.png").write_bytes(b"")
    names = [f"{number}.png" for number in (1, 2, 3)] + ["bad.png"]
    (tmp_path / "captions.csv").write_text("file,caption\n" + "".join(f"{name},a photo\n" for name in names))
    data = {"name": "csv", "images": str(photos), "captions": str(tmp_path / "captions.csv"), "shares": {"val": 0.25}}
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(json.loads(spec_file.read_text()) | {"data": data}))
    load_spec(spec, registry=Registry.discover())
    shared = ("extract", spec, "--device", "cpu")
    first = capfw(*shared, "--dry-run")
    assert "(measured on 4 images, 1 of them unreadable)" in first.stdout
    capfw(*shared)
    assert sum(json.loads(capfw(*shared, "--dry-run", "--json").stdout)["num_stored"].values()) == 4
    shutil.copy(photos / "1.png", photos / "2.png")
    assert sum(json.loads(capfw(*shared, "--dry-run", "--json").stdout)["num_stored"].values()) == 3


def test_a_tuned_encoder_stores_nothing(capfw: Capfw, spec_file: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    shutil.copy(spec_file, spec)
    result = capfw("extract", spec, "--dry-run", "--device", "cpu", "--set", "/train/tune/encoder={}")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("Disk: none; the encoder is tuned.\n")
    assert list(tmp_path.iterdir()) == [spec]
