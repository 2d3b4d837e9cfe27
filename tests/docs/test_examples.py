"""The specs in examples/: each describes what it needs, shows it when that is missing, and runs once it is there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from capfw import Evaluation, load_spec, run
from capfw.cli import main

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "examples").glob("*.json"))
WITH_DATA = [spec for spec in SPECS if spec.stem != "quickstart"]
RECIPES = [spec for spec in WITH_DATA if spec.stem != "flickr8k"]

# Parts without published weights, in place of those of an example.
SMALL = {
    "/features/num_workers": 0,
    "/encoder": {
        "name": "vit",
        "weights": "random",
        "features": "pooled",
        "architecture": {"image_size": 32, "patch_size": 16, "width": 16, "num_layers": 1, "num_heads": 2},
    },
    "/mapper": {"name": "mlp", "prefix_length": 2},
    "/decoder": {"name": "gpt2", "weights": "random", "num_layers": 1, "width": 16, "num_heads": 2},
    "/train/epochs": 1,
    "/generate/max_tokens": 4,
}


def description(spec: Path) -> str:
    return str(json.loads(spec.read_text("utf-8"))["description"])


def entry(split: str, folder: str, name: str, captions: list[str], **ids: int) -> dict[str, Any]:
    sentences = [{"raw": caption} for caption in captions]
    place = {"filepath": folder} if folder else {}
    return {"filename": name, **place, **ids, "split": split, "sentences": sentences}


def write_coco(data: Path, source: Path) -> None:
    """The tree of docs/data.md, with a few photos of COCO 2017 under their names of 2014."""
    entries = []
    for folder, year, splits in (
        ("train2014", "train2017", ["train"] * 4),
        ("val2014", "val2017", ["restval", "restval", "val", "val", "test", "test", "test"]),
    ):
        (data / "coco" / folder).mkdir(parents=True)
        content = json.loads((source / f"annotations/captions_{year}.json").read_text("utf-8"))
        for image, split in zip(content["images"], splits, strict=False):
            name = f"COCO_{folder}_{image['file_name']}"
            shutil.copy(source / year / image["file_name"], data / "coco" / folder / name)
            captions = [each["caption"] for each in content["annotations"] if each["image_id"] == image["id"]]
            entries.append(entry(split, folder, name, captions, cocoid=image["id"], imgid=len(entries)))
    (data / "coco/dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": entries}), encoding="utf-8")


def write_flickr8k(data: Path, source: Path) -> None:
    """The tree of docs/data.md: all photos in one folder."""
    (data / "flickr8k/Flicker8k_Dataset").mkdir(parents=True)
    content = json.loads((source / "annotations/dataset_karpathy.json").read_text("utf-8"))
    chosen = [image for split in ("train", "val", "test") for image in content["images"] if image["split"] == split][
        ::900
    ]
    for image in chosen:
        shutil.copy(source / "images" / image["split"] / image["filename"], data / "flickr8k/Flicker8k_Dataset")
    file = data / "flickr8k/dataset_flickr8k.json"
    file.write_text(json.dumps({"dataset": "flickr8k", "images": chosen}), encoding="utf-8")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_description_names_the_needs(spec: Path) -> None:
    assert re.search(r"\bNeeds ", description(spec))
    assert ("see docs/data.md" in description(spec)) == (spec in WITH_DATA)


@pytest.mark.parametrize("command", ["validate", "run"])
@pytest.mark.parametrize("spec", WITH_DATA, ids=lambda spec: spec.stem)
def test_missing_data_is_an_error_that_ends_with_the_description(spec: Path, command: str, tmp_path: Path) -> None:
    file = Path(shutil.copy(spec, tmp_path))

    result = CliRunner().invoke(main, [command, str(file)])

    assert result.exit_code == 2
    assert re.search(r"^/data/captions: there is no file at .*json\.$", result.stderr, re.MULTILINE)
    assert result.stderr.strip().endswith(f"The description of this spec: {description(spec)}")


def test_description_is_in_the_answer_for_scripts(tmp_path: Path) -> None:
    file = Path(shutil.copy(WITH_DATA[0], tmp_path))

    answer = json.loads(CliRunner().invoke(main, ["validate", str(file), "--json"]).stdout)

    assert answer["description"] == description(WITH_DATA[0])
    assert {problem["pointer"] for problem in answer["problems"]} == {"/data/captions", "/data/images"}


def test_other_mistakes_do_not_show_the_description() -> None:
    arguments = ["validate", str(ROOT / "examples/quickstart.json"), "--set", "/seed=-1"]

    assert "The description of this spec" not in CliRunner().invoke(main, arguments).stderr
    assert "description" not in json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda spec: spec.stem)
def test_recipe_reports_on_the_test_split_of_karpathy(recipe: Path, tmp_path: Path, shared_data: Path) -> None:
    write_coco(tmp_path / "data", shared_data / "coco_mini")
    (tmp_path / "examples").mkdir()
    file = Path(shutil.copy(recipe, tmp_path / "examples"))

    checked = CliRunner().invoke(main, ["validate", str(file)])
    result = run(load_spec(file, overrides=SMALL))

    assert checked.exit_code == 0, checked.stderr
    data = json.loads((result.run_dir / "environment.json").read_text())["data"]
    assert {split: facts["images"] for split, facts in data.items()} == {"train": 6, "val": 2, "test": 3}
    assert (result.evaluation.split, len(result.evaluation.captions)) == ("test", 3)
    chosen = Evaluation.read(result.run_dir, "val")  # val chose the checkpoint
    assert chosen is not None
    assert len(chosen.captions) == 2


def test_flickr8k_runs_on_the_tree_of_the_data_page(tmp_path: Path, shared_data: Path) -> None:
    write_flickr8k(tmp_path / "data", shared_data / "flickr8k")
    (tmp_path / "examples").mkdir()
    file = Path(shutil.copy(ROOT / "examples/flickr8k.json", tmp_path / "examples"))
    encoder = {**load_spec(file).to_json()["encoder"], "weights": "random"}  # the model itself, without its weights

    result = run(load_spec(file, overrides={**SMALL, "/encoder": encoder}))

    assert result.evaluation.split == "test"
