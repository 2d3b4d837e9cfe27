"""Two processes on one machine compute what one computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

SPEC: dict[str, Any] = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 24, "num_val": 5, "num_test": 7, "image_size": 32},
    "features": {"num_workers": 0, "batch_size": 4, "store": "features"},
    "encoder": {
        "name": "vit",
        "weights": "random",
        "features": "tokens",
        "architecture": {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2},
    },
    "mapper": {"name": "transformer", "prefix_length": 2, "num_layers": 1, "num_heads": 2, "dropout": 0.0},
    "decoder": {
        "name": "gpt2",
        "weights": "random",
        "num_layers": 1,
        "width": 16,
        "num_heads": 2,
        "max_positions": 64,
        "dropout": 0.0,
    },
    # 9 captions a step: the second process has one fewer; the last step of an epoch has fewer than both.
    "train": {"epochs": 2, "max_steps": 12, "batch_size": 9, "micro_batch_size": 2, "lr": 0.0005},
    "generate": {"method": "greedy", "max_tokens": 12, "batch_size": 2},
    "metrics": [{"name": "bleu"}, {"name": "cider"}],
}


def _run(folder: Path, num_processes: int) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    spec = folder / "spec.json"
    spec.write_text(json.dumps({**SPEC, "run_dir": "run"}))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    return subprocess.run(
        [sys.executable, *(launcher if num_processes > 1 else []), "-m", "capfw", "run", str(spec), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder of the runs `run-1` and `run-2`, and what the second one printed on stdout and stderr."""
    folder = tmp_path_factory.mktemp("processes")
    one, two = (_run(folder / f"run-{count}", count) for count in (1, 2))
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    return folder, two.stdout, two.stderr


def _last_weights(run_dir: Path) -> dict[str, torch.Tensor]:
    step = json.loads((run_dir / "checkpoints/last.json").read_text())["step"]
    assert step == SPEC["train"]["max_steps"]
    return load_file(run_dir / f"checkpoints/step-{step}/weights.safetensors")


def test_the_weights_are_the_same(both: tuple[Path, str, str]) -> None:
    one, two = (_last_weights(both[0] / f"run-{count}/run") for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)


def test_the_candidates_and_scores_are_the_same(both: tuple[Path, str, str]) -> None:
    for split in ("val", "test"):
        one, two = (json.loads((both[0] / f"run-{count}/run/candidates/{split}.json").read_text()) for count in (1, 2))
        assert [(c["image_id"], c["caption"]) for c in two] == [(c["image_id"], c["caption"]) for c in one]
        scores = [
            json.loads((both[0] / f"run-{count}/run/scores/{split}.json").read_text())["scores"] for count in (1, 2)
        ]
        assert scores[1] == pytest.approx(scores[0], abs=1e-9)


def test_json_is_printed_once(both: tuple[Path, str, str]) -> None:
    assert json.loads(both[1])["split"] == "test"


def test_progress_never_passes_its_total(both: tuple[Path, str, str]) -> None:
    counts = [
        line.split() for line in both[2].splitlines() if " of " in line and line.startswith(("extract", "caption"))
    ]
    assert counts
    for words in counts:
        done, total = int(words[words.index("of") - 1]), int(words[words.index("of") + 1])
        assert done <= total, " ".join(words)
