"""The results of a sweep, read from the files of its runs: ranks, means, test scores, notices, files."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from capfw.core.errors import RequestError
from capfw.core.sweeping import Trial, sweep_results
from capfw.core.sweeping.records import SweepFolder, SweepRecord
from capfw.core.sweeping.tables import write_results

from .conftest import write_run

Lay = Callable[..., Path]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Lays out the folder of a sweep over /train/lr with these scores of two seeds; None is unfinished, a text an error."""

    def lay(scores: dict[float, Sequence[float | str | None]], *, is_lower_better: bool = False) -> Path:
        folder = SweepFolder(tmp_path / "out")
        trials = []
        for lr, by_seed in scores.items():
            for seed, score in enumerate(by_seed):
                trials.append(trial := Trial(f"lr-{lr}__seed-{seed}", {"/train/lr": lr}, seed))
                if isinstance(score, str):
                    folder.mark_failed(trial, score)
                elif score is not None:
                    write_run(folder.run_dir(trial), score)
        folder.write(SweepRecord(trials, "CIDEr", is_lower_better))
        return folder.path

    return lay


def ranks(folder: Path) -> dict[float, int | None]:
    return {setting.values["/train/lr"]: setting.rank for setting in sweep_results(folder).settings}


def test_settings_are_ranked_by_the_mean_over_seeds_and_test_is_that_of_the_first(lay: Lay) -> None:
    folder = lay({0.1: [0.4, 0.6], 0.2: [0.9, 0.5], 0.3: [0.8, 0.1]})
    results = sweep_results(folder)
    assert ranks(folder) == {0.2: 1, 0.1: 2, 0.3: 3}
    best = results.settings[0]
    half = 12.706204736 * math.sqrt(2 * 0.2**2) / math.sqrt(2)  # t for one degree of freedom, s of 0.9 and 0.5
    assert best.score is not None
    assert (best.score.mean, best.score.high) == pytest.approx((0.7, 0.7 + half))
    assert best.val["ROUGE-L"].mean == pytest.approx(0.35)
    assert results.chosen is best
    assert results.test["CIDEr"].values == (0.09, 0.05)
    assert [best.mean_of(name) for name in ("num_trained", "num_parameters", "seconds")] == [1000, 5000, 2.0]
    assert results.notices == ()


def test_a_lower_score_comes_first_where_the_metric_says_so(lay: Lay) -> None:
    assert ranks(lay({0.1: [3.0, 3.0], 0.2: [2.0, 2.0]}, is_lower_better=True)) == {0.2: 1, 0.1: 2}


def test_a_setting_without_every_seed_has_no_rank_and_is_not_left_out(lay: Lay, capfw: Callable[..., Result]) -> None:
    folder = lay({0.1: [0.9, "boom\n  a fix"], 0.2: [0.5, 0.5], 0.3: [math.nan, 1.0]})
    printed = capfw("sweep", folder, "--table").stdout
    assert ranks(folder) == {0.2: 1, 0.3: None, 0.1: None}
    assert "1 of 2, 1 failed" in printed
    assert "Failed: lr-0.1__seed-1: boom" in printed
    assert "A setting whose score is no number has no rank." in printed
    assert "Its scores on test: CIDEr 0.0500" in printed  # every trial has ended


def test_no_test_score_is_shown_before_the_end(lay: Lay, capfw: Callable[..., Result]) -> None:
    folder = lay({0.1: [0.4, 0.6], 0.2: [0.9, None]})
    results = sweep_results(folder)
    assert (results.chosen, results.test) == (results.settings[0], {})
    assert results.notices[0].startswith("The sweep has not ended: 1 trial is not finished.")
    assert "on test" not in capfw("sweep", folder, "--table").stdout
    assert json.loads(capfw("sweep", folder, "--table", "--json").stdout)["num_unfinished"] == 1


def test_the_test_split_does_not_rank_where_there_is_no_val_split(lay: Lay) -> None:
    folder = lay({0.1: [None], 0.2: [None]})
    for lr in (0.1, 0.2):
        write_run(folder / f"runs/lr-{lr}__seed-0", None)
    results = sweep_results(folder)
    assert (results.chosen, results.test, results.count("finished")) == (None, {}, 2)
    assert "no val split" in " ".join(results.notices)


def test_runs_on_other_val_images_are_not_comparable(lay: Lay) -> None:
    folder = lay({0.1: [0.4], 0.2: [0.5]})
    write_run(folder / "runs/lr-0.2__seed-0", 0.5, data={"sha256": "other"})
    notices = sweep_results(folder).notices
    assert "The val scores are not comparable: the runs differ in data of the val split." in notices
    assert any(notice.startswith("One seed a setting") for notice in notices)


def test_the_files_hold_the_table(lay: Lay) -> None:
    folder = lay({0.1: [0.4, 0.6], 0.2: [0.9, 0.5]})
    write_results(sweep_results(folder))
    content = json.loads((folder / "results.json").read_text())
    assert [setting["setting"]["/train/lr"] for setting in content["settings"]] == [0.2, 0.1]
    assert [trial["score"] for trial in content["settings"][0]["trials"]] == [0.9, 0.5]
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["/train/lr"], row["CIDEr"]) for row in rows] == [("1", "0.2", "0.7"), ("2", "0.1", "0.5")]
    assert float(rows[0]["CIDEr low"]) < 0.7 < float(rows[0]["CIDEr high"])
    page = (folder / "results.md").read_text()
    assert "| 1 | 0.2 | 0.7000 ± 2.5412 | 2 | 1,000 | 5,000 | 2.0 s |" in page
    assert "Best on val: lr=0.2." in page


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path, capfw: Callable[..., Result]) -> None:
    with pytest.raises(RequestError, match=r"not the folder of a sweep: it has no trials\.json"):
        sweep_results(tmp_path)
    assert capfw("sweep", tmp_path, "--table").exit_code == 2


def test_the_table_is_printed_without_torch(lay: Lay) -> None:
    folder = lay({0.1: [0.4, 0.6]})
    code = (
        "import sys\nfrom capfw.cli import main\n"
        f"try:\n    main(['sweep', {str(folder)!r}, '--table'])\nexcept SystemExit as err:\n    assert not err.code\n"
        "print(sorted({'torch', 'transformers', 'timm', 'open_clip', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
