"""`capfw export`: what the files hold, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw import load_spec, run
from capfw.cli import main
from capfw.core.registry import Registry

from ..tiny_parts import GPT2, TRANSFORMER, VIT

SPEC: dict[str, Any] = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 16, "num_val": 4, "num_test": 4, "image_size": 32},
    "features": {"num_workers": 0},
    "encoder": VIT,
    "mapper": TRANSFORMER,
    "decoder": GPT2,
    "train": {"epochs": 1, "batch_size": 16, "lr": 0.01},
    "generate": {"method": "beam", "num_beams": 3, "num_captions": 2, "max_tokens": 12},
    "metrics": [{"name": "bleu"}, {"name": "cider"}],
}
Export = Callable[..., Result]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with two captions for each image."""
    folder = tmp_path_factory.mktemp("exports")
    registry = Registry.discover()
    return run(load_spec({**SPEC, "run_dir": str(folder / "run")}, registry=registry), registry=registry).run_dir


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def stored(run_dir: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    candidates = json.loads((run_dir / "candidates/test.json").read_text())
    return candidates, json.loads((run_dir / "scores/test.json").read_text())["per_image"]


def test_csv_has_captions_references_and_scores(run_dir: Path, tmp_path: Path) -> None:
    done = export(run_dir, "--to", "csv", "--output", tmp_path / "new/out.csv")

    assert (done.exit_code, done.stdout) == (
        0,
        f"{tmp_path / 'new/out.csv'}: 4 images of split test; opens in a spreadsheet\n",
    )
    with (tmp_path / "new/out.csv").open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    candidates, scores = stored(run_dir)
    assert [row["image_id"] for row in rows] == [each["image_id"] for each in candidates]
    assert [row["caption"] for row in rows] == [each["caption"] for each in candidates]
    assert [row["caption_2"] for row in rows] == [each["others"][0]["caption"] for each in candidates]
    assert [float(row["log_prob"]) for row in rows] == [each["log_prob"] for each in candidates]
    assert {row["image_id"]: float(row["CIDEr"]) for row in rows} == scores["CIDEr"]
    data = load_spec(run_dir / "spec.json").data
    assert data is not None
    [first, *_] = data.build().samples("test")
    assert tuple(rows[0][f"reference_{n}"] for n in range(1, 6)) == first.references


def test_parquet_has_captions_references_scores_and_thumbnails(run_dir: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs pyarrow: pip install "capfw[parquet]"')
    done = export(run_dir, "--to", "parquet", "--json")

    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    file = Path(said["output"])
    assert (file, said["num_images"]) == (run_dir / "exports/test.parquet", 4)
    table = parquet.read_table(file)
    candidates, scores = stored(run_dir)
    rows = table.to_pylist()
    assert [row["caption"] for row in rows] == [each["caption"] for each in candidates]
    assert [row["other_captions"] for row in rows] == [[each["others"][0]["caption"]] for each in candidates]
    assert {row["image_id"]: row["BLEU-4"] for row in rows} == scores["BLEU-4"]
    assert all(len(row["references"]) == 5 for row in rows)
    assert {Image.open(io.BytesIO(row["image"]["bytes"])).format for row in rows} == {"JPEG"}
    facts = json.loads(table.schema.metadata[b"capfw"])
    assert (facts["split"], facts["run"], facts["spec"]["seed"]) == ("test", "run", 42)
    assert facts["scores"].keys() == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr"}

    plain = export(run_dir, "--to", "parquet", "--set", "/thumbnails=false", "--force")
    assert plain.exit_code == 0, plain.stderr
    assert "image" not in parquet.read_table(file).column_names


def test_a_file_is_replaced_only_on_request(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("precious")
    refused = export(run_dir, "--to", "csv", "--output", tmp_path / "mine.csv")
    assert refused.exit_code == 2
    assert f"{tmp_path / 'mine.csv'}: this file exists already.\n  Name another with --output, or add --force." in (
        refused.stderr
    )
    assert (tmp_path / "mine.csv").read_text() == "precious"
    assert export(run_dir, "--to", "csv", "--output", tmp_path / "mine.csv", "--force").exit_code == 0
    assert (tmp_path / "mine.csv").read_text().startswith("image_id,file,caption")


def test_wrong_requests_are_named_with_their_fix(run_dir: Path, tmp_path: Path) -> None:
    unknown = export(run_dir, "--to", "parket")
    assert unknown.exit_code == 2
    assert 'no exporter is called "parket".' in unknown.stderr
    assert 'Did you mean "parquet"?' in unknown.stderr
    option = export(run_dir, "--to", "csv", "--set", "/thumbnails=false")
    assert option.exit_code == 2
    assert "/thumbnails" in option.stderr
    nothing = export(run_dir, "--to", "csv", "--split", "train")
    assert nothing.exit_code == 2
    assert f"{run_dir}: the run has no captions of split train." in nothing.stderr
    assert f"capfw evaluate {run_dir} --split train" in nothing.stderr
    nowhere = export(tmp_path, "--to", "csv")
    assert "this is not a run directory" in nowhere.stderr
    folder = export(run_dir, "--to", "csv", "--output", tmp_path)
    assert f"{tmp_path}: this is a folder.\n  Name a file: --output FILE." in folder.stderr


def test_other_data_than_those_that_were_captioned_are_refused(run_dir: Path) -> None:
    file = run_dir / "scores/test.json"
    before = file.read_text()
    record = json.loads(before)
    record["signature"]["data"]["sha256"] = "0" * 64
    file.write_text(json.dumps(record))
    try:
        done = export(run_dir, "--to", "csv", "--force")
    finally:
        file.write_text(before)
    assert done.exit_code == 1
    assert f"{run_dir}: the data set has changed since split test was captioned." in done.stderr
    assert f"capfw evaluate {run_dir} --split test" in done.stderr


def test_val_is_exported_by_its_usual_names(run_dir: Path, tmp_path: Path) -> None:
    done = export(run_dir, "--to", "csv", "--split", "validation", "--output", tmp_path / "val.csv")
    assert "4 images of split val" in done.stdout
