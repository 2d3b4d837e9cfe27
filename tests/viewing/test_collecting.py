"""`capfw view` collects runs and result files, and refuses others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from capfw.cli import main
from capfw.core.errors import CapfwError
from capfw.core.viewing.collection import distinct_names
from capfw.core.viewing.result_files import view_files
from capfw.core.viewing.runs import view_runs

from .conftest import picture


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def data(page: Path, name: str) -> Any:
    """The value that a data script of an export hands to the page."""
    text = (page / "data" / f"{name}.js").read_text(encoding="utf-8")
    assert text.startswith(f'capfwData("{name}",')
    return json.loads(text.removeprefix(f'capfwData("{name}",').removesuffix(");\n"))


def test_two_runs_are_exported_with_their_results(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    result = invoke("view", *two_runs, "--output", tmp_path / "page")

    assert (result.exit_code, result.stdout) == (0, f"Page: {tmp_path / 'page' / 'index.html'}\n")
    meta, rows = data(tmp_path / "page", "meta"), data(tmp_path / "page", "rows-0")
    assert [system["name"] for system in meta["systems"]] == ["linear", "mlp"]
    assert (meta["split"], meta["num_images"], meta["main_score"]) == ("test", 4, "CIDEr")
    for run_dir, system, columns in zip(two_runs, meta["systems"], rows["systems"], strict=True):
        stored = json.loads((run_dir / "scores/test.json").read_text())
        captions = json.loads((run_dir / "candidates/test.json").read_text())
        assert system["scores"]["CIDEr"] == pytest.approx(stored["scores"]["CIDEr"], rel=1e-5)
        assert columns["caption"] == [each["caption"] for each in captions]
        assert columns["scores"]["BLEU-1"] == pytest.approx(list(stored["per_image"]["BLEU-1"].values()), rel=1e-4)
        assert system["spec"]["mapper"]["name"] == system["name"]
        assert "Training loss" in [curve["title"] for curve in system["curves"]]
    assert all(len(references) == 5 for references in rows["references"])
    extra = data(tmp_path / "page", "extra-0")["systems"][0]
    assert [len(others) for others in extra["others"]] == [1, 1, 1, 1]
    assert sorted(file.name for file in (tmp_path / "page/pictures/0").iterdir()) == [f"{i}.webp" for i in range(4)]


def test_split_val_can_be_shown(two_runs: tuple[Path, Path]) -> None:
    collection = view_runs(two_runs, "val")
    assert (collection.split, len(collection.images)) == ("val", 3)


def test_runs_whose_metrics_or_data_differ_get_a_notice(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(two_runs[0], other)
    file = other / "scores/test.json"
    record = json.loads(file.read_text())
    record["signature"]["metrics"][0]["tokenizer"] = "another"
    file.write_text(json.dumps(record))

    notices = view_runs([two_runs[0], other]).notices

    assert notices == ["The scores of these runs are not comparable: their metrics differ."]


def test_view_imports_no_torch(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    code = (
        "import sys; from capfw.cli import main\n"
        f"main(['view', {str(two_runs[0])!r}, '--output', {str(tmp_path / 'page')!r}], standalone_mode=False)\n"
        "print({'torch', 'transformers', 'timm', 'open_clip'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """References of four images, two result files and photos of two images."""
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(3)] + [{"id": 3, "file_name": "../secret.png"}]
    annotations = [{"id": i, "image_id": i, "caption": f"a thing {i}"} for i in range(4)]
    (tmp_path / "refs.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    captions = [
        {"image_id": i, "caption": f"a thing {i}", "log_prob": -1.5, "others": [{"caption": "b"}]} for i in range(4)
    ]
    (tmp_path / "a.json").write_text(json.dumps(captions))
    (tmp_path / "b.json").write_text(json.dumps(captions[:2]))
    (tmp_path / "photos").mkdir()
    for place in ("photos/0.png", "photos/000000000001.png", "secret.png"):
        (tmp_path / place).write_bytes(picture("green"))
    return tmp_path


def test_result_files_are_scored_and_find_their_photos(files: Path) -> None:
    result = invoke(
        *("view", "--candidates", files / "a.json", files / "b.json", "--references", files / "refs.json"),
        *("--images", files / "photos", "--metrics", "bleu", "--output", files / "page"),
    )

    assert result.exit_code == 0, result.output
    assert "b.json: Left out: 2 images with no candidate" in result.stderr
    assert "2 of 4 images have no photo in" in result.stderr
    rows = data(files / "page", "rows-0")
    assert rows["id"] == [0, 1, 2, 3]
    assert rows["systems"][0]["scores"]["BLEU-1"] == pytest.approx([1, 1, 1, 1])
    assert rows["systems"][1]["caption"] == ["a thing 0", "a thing 1", None, None]
    assert rows["systems"][0]["log_prob"] == [-1.5] * 4
    written = sorted(file.name for file in (files / "page/pictures/0").iterdir())
    assert written == ["0.webp", "1.webp"], "not the photo outside the folder"


def test_tables_of_captions_are_matched_by_file_name(files: Path) -> None:
    (files / "captions.csv").write_text("file,caption\n0.png,a table\n0.png,another\n1.png,a chair\n")
    collection = view_files([files / "captions.csv"], files / "refs.json")
    assert [image.image_id for image in collection.images] == [0, 1, 2, 3]
    candidates = collection.systems[0].candidates
    assert {i: each.text for i, each in candidates.items()} == {0: "a table", 1: "a chair"}
    assert list(candidates[0].others) == [("another", None)]


def test_the_first_of_several_captions_is_shown_as_it_is_scored(tmp_path: Path) -> None:
    entries = [{"image_id": 1, "caption": text, "log_prob": -1.0} for text in ("best", "second")]
    (tmp_path / "made.json").write_text(json.dumps(entries))
    [system] = view_files([tmp_path / "made.json"]).systems
    assert (system.candidates[1].text, [text for text, _ in system.candidates[1].others]) == ("best", ["second"])


def test_a_number_in_two_file_names_finds_no_photo(tmp_path: Path) -> None:
    for name in ("cat_1.png", "dog_1.png", "dog_2.png"):
        (tmp_path / name).write_bytes(picture("red"))
    (tmp_path / "made.json").write_text(json.dumps([{"image_id": i, "caption": "a dog"} for i in (1, 2)]))
    found = view_files([tmp_path / "made.json"], None, tmp_path)
    assert [image.source is None for image in found.images] == [True, False]
    assert found.notices == [f"1 of 2 images have no photo in {tmp_path}."]


def test_the_page_knows_of_which_scores_less_is_better(
    two_runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(two_runs[0], copied)
    record = json.loads((copied / "scores/test.json").read_text())
    (copied / "scores/test.json").write_text(json.dumps(record | {"lower_is_better": ["CIDEr"]}))
    (tmp_path / "page").mkdir()
    monkeypatch.chdir(tmp_path / "page")
    assert invoke("view", copied, "--output", ".").exit_code == 0
    assert data(tmp_path / "page", "meta")["lower_is_better"] == ["CIDEr"]


def test_result_files_without_references_are_shown_without_scores(files: Path) -> None:
    collection = view_files([files / "a.json"])
    assert len(collection.images) == 4
    assert collection.score_names == []
    assert collection.images[0].source is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name one to four run directories"),
        (["RUN", "--references", "x.json"], "--references belongs to --candidates"),
        (["--candidates", "a.json", "--split", "val"], "--split needs --references"),
        (["--candidates", "a.json", "--set", "/data/images=x"], "--set belongs to run directories"),
        (["--candidates", "a.json", "--metrics", "bleu"], "--metrics needs --references"),
        (["RUN", "--picture-side", "10"], "--picture-side needs --output"),
        (["RUN", "--output", "x", "--port", "1"], "--output starts no server"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments: list[str], words: str) -> None:
    result = invoke("view", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_errors_name_place_and_fix(two_runs: tuple[Path, Path], files: Path) -> None:
    def error(*arguments: object) -> str:
        result = invoke("view", *arguments)
        assert result.exit_code == 2
        return result.stderr

    text = error(files / "photos")
    assert text.startswith(f"{files / 'photos'}: this is not a run directory: it has no spec.json.")
    assert "show result files with --candidates FILE" in text
    text = error(two_runs[0], "--split", "train")
    assert text.startswith("--split: no run has results of split train.")
    assert f"capfw evaluate {two_runs[0]} --split train" in text
    assert "this folder is not empty" in error(two_runs[0], "--output", files / "photos")
    assert "this is given twice" in error(two_runs[0], two_runs[0])
    assert "5 runs are more than the page shows" in error(*(f"run{i}" for i in range(5)))
    assert "/train/lr does not change what is shown" in error(two_runs[0], "--set", "/train/lr=1")
    assert "there is no such folder" in error("--candidates", files / "a.json", "--images", files / "none")


def test_runs_over_other_images_cannot_be_shown_together(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(two_runs[0], other)
    file = other / "candidates/test.json"
    file.write_text(file.read_text().replace("test-0000", "elsewhere-"))
    with pytest.raises(CapfwError) as caught:
        view_runs([two_runs[0], other])
    assert caught.value.where == str(other)
    assert "has none of the images that this run captioned" in caught.value.what


def test_names_are_the_shortest_that_differ(tmp_path: Path) -> None:
    assert distinct_names([tmp_path / "a/run", tmp_path / "b/run"]) == ["a/run", "b/run"]
    assert distinct_names([tmp_path / "a/run", tmp_path / "a/walk"]) == ["run", "walk"]
