"""`capfw evaluate`, and what a run reports of its candidates."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from capfw import Captioner, load_spec, run
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import RequestError, SpecError
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


def test_a_run_scores_several_captions_per_image_and_their_novelty(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    generate = {"method": "nucleus", "num_captions": 3, "max_tokens": 8}
    file = tiny(generate=generate, metrics=[{"name": "cider"}, {"name": "diversity"}], train={"max_steps": 1})
    result = run(load_spec(file, registry=registry), registry=registry)
    assert result.evaluation is not None
    assert {"Novel", "Self-CIDEr"} < set(result.evaluation.scores)
    assert result.evaluation.signature["metrics"][1]["captions_per_image"] == "3"
    log = (result.run_dir / "log.jsonl").read_text()
    assert "Metric diversity left scores out" not in log

    again = evaluate_run(result.run_dir, registry=registry)
    assert again.scores == result.evaluation.scores
    # Of another data set, no caption is known to be a training caption; and greedy search gives one caption.
    other = {"/data/num_test": 2, "/data/num_train": 8, "/generate": {"method": "greedy", "max_tokens": 8}}
    elsewhere = evaluate_run(result.run_dir, overrides=other, output=tmp_path / "other", registry=registry)
    assert set(elsewhere.scores) == {"CIDEr", "Distinct-1", "Distinct-2", "Vocabulary", "Length"}


def test_a_score_that_may_be_left_out_cannot_choose_the_best_checkpoint(tiny: Write, registry: Registry) -> None:
    file = tiny(metrics=[{"name": "diversity"}], train={"best_by": "Novel"})
    with pytest.raises(SpecError) as caught:
        load_spec(file, registry=registry)
    [problem] = caught.value.problems
    assert problem.pointer == "/train/best_by"
    assert problem.message == '"Novel" is left out where its input is missing, so it cannot choose the best checkpoint.'
    assert problem.fix == "Choose one of Distinct-1, Distinct-2, Vocabulary, Length, loss."


def test_a_run_that_was_handed_over_runs_no_program_without_consent(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("open('ran', 'a').write('x'); print('{\"Mine\": 1}')")
    command = {"name": "command", "command": [sys.executable, "score.py"], "scores": {"Mine": "higher"}}
    metrics = [{"name": "cider"}, {**command, "folder": "."}]
    run_dir = run(
        load_spec(tiny(metrics=metrics, train={"max_steps": 1}), registry=registry), registry=registry
    ).run_dir
    (tmp_path / "ran").unlink()

    with pytest.raises(RequestError, match=r'metric "command" of this run runs a program .*score\.py') as caught:
        evaluate_run(run_dir, "val", registry=registry)
    assert caught.value.where == f"{run_dir / 'spec.json'}, /metrics/1"
    assert "--allow-programs" in str(caught.value)
    slower = {"/metrics/1/timeout_seconds": 9}
    with pytest.raises(RequestError, match="runs a program"):
        evaluate_run(run_dir, "val", overrides=slower, output=tmp_path / "slower", registry=registry)
    Captioner.load(run_dir, device="cpu", registry=registry).caption(Image.new("RGB", (20, 20)))
    other = {"/metrics": [{"name": "cider"}]}
    evaluate_run(run_dir, "val", overrides=other, output=tmp_path / "other", registry=registry)
    assert not (tmp_path / "ran").exists()

    allowed = evaluate_run(run_dir, "val", allow_programs=True, registry=registry)
    assert allowed.scores["Mine"] == 1
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("section", "program"),
    [
        ({"name": "meteor", "java": "./evil"}, r"\./evil"),
        ({"name": "spice", "corenlp_folder": "/evil"}, "the jars in /evil"),
    ],
)
def test_another_java_than_the_usual_one_needs_consent_too(
    tiny: Write, registry: Registry, section: dict[str, object], program: str
) -> None:
    run_dir = run(load_spec(tiny(train={"max_steps": 1}), registry=registry), registry=registry).run_dir
    spec = json.loads((run_dir / "spec.json").read_text())
    spec["metrics"].append(section)
    (run_dir / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(RequestError, match=f"of this run runs a program on this machine: {program}"):
        evaluate_run(run_dir, registry=registry)
