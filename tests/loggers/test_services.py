"""Weights & Biases offline, MLflow with a local database, and trackio: what each library itself reads back."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from capfw.core.protocols import ComponentError

Record = Callable[..., str]


def test_mlflow_has_parameters_values_images_and_tables(record: Record, folder: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason='needs MLflow: pip install "capfw[mlflow]"')
    pytest.importorskip("sqlalchemy", reason="needs all of MLflow, not mlflow-skinny")
    from capfw.plugins.loggers.mlflow import MlflowConfig
    from capfw.plugins.loggers.mlflow.model import MlflowLogger

    place = record(MlflowLogger(MlflowConfig(experiment="tests")))
    record(MlflowLogger(MlflowConfig(experiment="tests")), steps=(30,), is_resumed=True)

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert place == f"see it with: mlflow ui --backend-store-uri {uri}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    [experiment] = client.search_experiments(filter_string="name = 'tests'")
    [run] = client.search_runs([experiment.experiment_id])  # the continued one is the same
    assert (run.info.run_name, run.info.status) == ("a-run", "FINISHED")
    assert run.data.params == {"seed": "42", "mapper.name": "mlp"}
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == [(10, 4.0), (20, 2.0), (30, pytest.approx(4 / 3))]
    artifacts = folder / "artifacts" / run.info.run_id / "artifacts"
    names = [file.name for file in (artifacts / "images").iterdir() if file.suffix == ".png"]
    assert len([name for name in names if "+step+10+" in name]) == 2
    with (artifacts / "test/results.csv").open(newline="") as opened:
        [first, _] = csv.DictReader(opened)
    assert (first["caption"], first["references"], first["CIDEr"]) == ("a red field", "red | all over", "1.25")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_wandb_keeps_an_offline_record_that_can_be_sent(
    record: Record, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason='needs wandb: pip install "capfw[wandb]"')
    from capfw.plugins.loggers.wandb import WandbConfig
    from capfw.plugins.loggers.wandb.model import WandbLogger

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    place = record(WandbLogger(WandbConfig(mode="offline")))
    record(WandbLogger(WandbConfig(mode="offline")), steps=(30,), is_resumed=True)

    assert place == f"send the record with: wandb sync {folder / 'wandb'}/offline-run-*"
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    identity = (folder / "id.txt").read_text()
    assert len(runs) == 2
    assert all(identity in run.name for run in runs)  # the continued record has the same id
    assert all((run / f"run-{identity}.wandb").stat().st_size > 0 for run in runs)
    media = [file for run in runs for file in run.rglob("*") if file.is_file()]
    assert len([file for file in media if file.suffix == ".png"]) == 6  # two images at three steps
    [table, *_] = [file for file in media if file.parent.name == "test" and file.name.endswith(".table.json")]
    stored = json.loads(table.read_text())
    assert stored["columns"] == ["image_id", "file", "caption", "log_prob", "references", "CIDEr"]
    assert stored["data"][0] == ["7", "bytes in memory", "a red field", -1.5, "red | all over", 1.25]


def test_wandb_online_needs_a_key_before_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason='needs wandb: pip install "capfw[wandb]"')
    from capfw.plugins.loggers.wandb import WandbConfig
    from capfw.plugins.loggers.wandb.model import WandbLogger

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine elsewhere.example.org login me password secret\n")
    with pytest.raises(ComponentError, match="has no API key on this machine") as caught:
        WandbLogger(WandbConfig())
    assert caught.value.option == "mode"
    assert caught.value.fix == 'Run `wandb login`, set WANDB_API_KEY, or set this option to "offline".'


def test_trackio_has_values_images_and_tables(record: Record) -> None:
    trackio = pytest.importorskip("trackio", reason='needs trackio: pip install "capfw[trackio]"')
    from capfw.plugins.loggers.trackio import TrackioConfig
    from capfw.plugins.loggers.trackio.model import TrackioLogger

    place = record(TrackioLogger(TrackioConfig(project="tests")))
    record(TrackioLogger(TrackioConfig(project="tests")), steps=(30,), is_resumed=True)

    assert place == "see it with: trackio show --project tests"
    [run] = trackio.Api().runs("tests")  # the continued one is the same
    assert run.name == "a-run"
    assert run.config["mapper"] == {"name": "mlp"}
    home = Path(trackio.utils.TRACKIO_DIR)
    with closing(sqlite3.connect(home / "tests.db")) as opened:
        stored = [
            (step, json.loads(text)) for step, text in opened.execute("SELECT step, metrics FROM metrics ORDER BY id")
        ]
    losses = [(step, values["train/loss"]) for step, values in stored if "train/loss" in values]
    assert losses == [(10, 4.0), (20, 2.0), (30, pytest.approx(4 / 3))]
    [table, _] = [values["test/results"] for _, values in stored if "test/results" in values]
    assert "a red field" in json.dumps(table)
    assert len(list((home / "media/tests").rglob("*.png"))) == 6  # two images at three steps
