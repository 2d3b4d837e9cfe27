"""`capfw evaluate`, and what a run reports of its candidates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from capfw import load_spec, run
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import RequestError
from capfw.core.registry import Registry

Write = Callable[..., Path]


def test_changed_options_never_overwrite_the_results_of_the_run(
    tiny: Write, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = run(load_spec(tiny(train={"max_steps": 1}), registry=registry), registry=registry).run_dir
    kept = {file: file.read_bytes() for kind in ("candidates", "scores") for file in (run_dir / kind).iterdir()}
    (tmp_path / "link").symlink_to(run_dir)
    (tmp_path / "folder").mkdir()
    for kind in ("candidates", "scores"):
        (tmp_path / "folder" / kind).symlink_to(run_dir / kind)
    monkeypatch.chdir(run_dir)
    changed = {"/generate/max_tokens": 3}
    for output in (None, run_dir, run_dir / ".", f"{run_dir}/assets/..", tmp_path / "link", tmp_path / "folder", "."):
        with pytest.raises(RequestError, match="would overwrite the results of the run") as caught:
            evaluate_run(run_dir, overrides=changed, output=output, registry=registry)
        assert "--output FOLDER" in str(caught.value)
        assert {file: file.read_bytes() for file in kept} == kept
    evaluate_run(run_dir, overrides=changed, output=run_dir / "short", registry=registry)
    assert (run_dir / "short/scores/test.json").is_file()
    assert {file: file.read_bytes() for file in kept} == kept


def test_a_split_goes_by_any_usual_name(tiny: Write, registry: Registry) -> None:
    run_dir = run(load_spec(tiny(train={"max_steps": 1}), registry=registry), registry=registry).run_dir
    assert evaluate_run(run_dir, "validation", registry=registry).split == "val"
    for name in ("holdout", ""):
        with pytest.raises(RequestError, match=f"the data set has no split {name}") as caught:
            evaluate_run(run_dir, name, registry=registry)
        assert "Choose one of train, val, test." in str(caught.value)


def test_a_run_reports_candidates_without_a_word(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (20, 20), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
    for split, ids in (("train", (0, 1)), ("val", (2, 3))):
        images = [{"id": i, "file_name": f"{i}.png"} for i in ids]
        annotations = [{"image_id": i, "caption": "."} for i in ids]
        (tmp_path / f"{split}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    data = {split: {"images": ".", "captions": f"{split}.json"} for split in ("train", "val")}
    file = tiny(data={"name": "coco", **data}, train={"epochs": 20, "best_by": "loss"})
    run_dir = run(load_spec(file, registry=registry), registry=registry).run_dir
    log = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    notices = [record["text"] for record in log if record["event"] == "notice"]
    assert any(text.startswith("val: Found no word in 2 of 2 candidates") for text in notices), notices
