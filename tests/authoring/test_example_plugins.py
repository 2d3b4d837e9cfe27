"""The packages under examples/plugins, installed as a stranger would: found, tested, used in a run, and uninstalled."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "plugins"
NAMES = ("capfw-colorgrid", "capfw-csvlog", "capfw-distinct")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def packages(install: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed copies of the three packages."""
    folder = tmp_path_factory.mktemp("plugins")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "runs")
    for name in NAMES:
        shutil.copytree(EXAMPLES / name, folder / name, ignore=unwanted)
    install(*(folder / name for name in NAMES))
    return folder


def test_these_are_all_there_are() -> None:
    assert {file.parent.name for file in EXAMPLES.glob("*/pyproject.toml")} == set(NAMES)


def test_plugins_lists_them_with_their_distribution(packages: Path, run_in_environment: Run) -> None:
    listed = json.loads(run_in_environment("capfw", "plugins", "--json").stdout)

    found = {plugin["name"]: plugin for plugin in listed if plugin["distribution"] in NAMES}
    assert {name: plugin["components"] for name, plugin in found.items()} == {
        "colorgrid": ["encoder colorgrid"],
        "csvlog": [],
        "distinct": ["metric distinct"],
    }
    assert {plugin["state"] for plugin in found.values()} == {"ok"}
    shown = run_in_environment("capfw", "plugins", "show", "colorgrid").stdout
    assert '"encoder": {"name": "colorgrid", "grid_size": 2, "cell_size": 4}' in shown


@pytest.mark.parametrize("name", NAMES)
def test_own_tests_pass(name: str, packages: Path, run_in_environment: Run) -> None:
    done = run_in_environment("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=packages / name)

    assert " passed" in done.stdout


def test_only_the_heavy_half_of_the_encoder_loads_torch(packages: Path, run_in_environment: Run) -> None:
    code = (
        "import sys, capfw_colorgrid, capfw_csvlog, capfw_distinct.model; print({'torch', 'numpy'} & set(sys.modules))"
    )

    assert run_in_environment("python", "-c", code).stdout == "set()\n"


def test_spec_runs_with_all_three(packages: Path, run_in_environment: Run) -> None:
    folder = packages / "capfw-colorgrid"
    metrics = '/metrics=[{"name": "bleu"}, {"name": "cider"}, {"name": "distinct"}]'

    scores = json.loads(run_in_environment("capfw", "run", "spec.json", "--set", metrics, "--json", cwd=folder).stdout)

    assert scores["scores"]["BLEU-4"] > 0.4  # measured 0.56; saying one caption of every image yields less than 0.2
    assert scores["scores"]["CIDEr"] > 2  # measured 3.2
    assert scores["scores"]["DistinctCaptions"] > 0.5
    run_dir = Path(scores["run_dir"])
    log = [json.loads(line) for line in (run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in log if line["event"] == "step"]
    with (run_dir / "metrics.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [float(row["value"]) for row in rows if (row["event"], row["name"]) == ("step", "loss")] == losses
    tested = {row["name"]: float(row["value"]) for row in rows if row["split"] == "test"}
    assert tested == scores["scores"]
    assert rows[-1]["event"] == "run_ended"


def test_spec_of_an_uninstalled_encoder_is_refused(
    packages: Path, run_in_environment: Run, install: Callable[..., None]
) -> None:
    folder = packages / "capfw-colorgrid"
    elsewhere = ["--set", "/run_dir=runs/never"]
    tiny = ["--set", "/data/num_train=8", "--set", "/data/num_val=2", "--set", "/data/num_test=2"]
    run_in_environment(
        "capfw", "run", "spec.json", *tiny, "--set", "/train/max_steps=1", "--set", "/run_dir=runs/tiny", cwd=folder
    )

    run_in_environment("python", "-m", "pip", "uninstall", "--quiet", "--yes", "capfw-colorgrid")
    try:
        refused = run_in_environment("capfw", "validate", "runs/tiny/spec.json", cwd=folder, code=2)
        never_run = run_in_environment("capfw", "validate", "spec.json", *elsewhere, cwd=folder, code=2)
    finally:
        install(folder)

    for said in (refused.stderr, never_run.stderr):
        assert '/encoder/name: no encoder is called "colorgrid"' in said
    assert "To use an encoder from another package, install it here" in never_run.stderr
    assert 'This run used "colorgrid" from capfw-colorgrid 0.1.0, which is not installed' in refused.stderr
    assert "pip install capfw-colorgrid" in refused.stderr
