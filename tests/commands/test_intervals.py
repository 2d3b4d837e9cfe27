"""The intervals of a run's scores: stored, printed by `capfw evaluate`, and read back."""

from __future__ import annotations

import json
from pathlib import Path

from capfw import Evaluation

from .conftest import Capfw


def test_a_run_stores_an_interval_of_each_score_and_evaluate_prints_it(
    trained: Path, tmp_path: Path, capfw: Capfw
) -> None:
    record = json.loads((trained / "scores/test.json").read_text())
    assert set(record["intervals"]) == {"ROUGE-L", "CIDEr"}
    assert record["interval_method"]["num_resamples"] == 1000
    assert all(low <= record["scores"][name] <= high for name, (low, high) in record["intervals"].items())
    read = Evaluation.read(trained, "test")
    assert read is not None
    assert {name: [each.low, each.high] for name, each in read.intervals.items()} == record["intervals"]
    changed = ["--set", '/metrics=[{"name": "bleu"}]', "--output", tmp_path / "bleu"]
    found = json.loads(capfw("evaluate", trained, *changed, "--device", "cpu", "--json").stdout)
    assert list(found["intervals"]) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    [statistics] = json.loads((tmp_path / "bleu/scores/test.json").read_text())["statistics"]
    assert statistics["metric"] == "bleu"
    assert all(len(row) == 10 for row in statistics["per_image"].values())
    done = capfw("compare", trained, tmp_path / "bleu")
    assert (done.exit_code, "the systems have no score in common" in done.stderr) == (2, True)
