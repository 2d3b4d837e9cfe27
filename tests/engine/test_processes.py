"""Several processes: none waits for what another never does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

Write = Callable[..., Path]
CLIP: dict[str, Any] = {
    "name": "clip",
    "weights": "random",
    "features": "tokens",  # so that the projection of the pooled embedding is not used
    "model": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    },
}


def _run(spec: Path, num_processes: int) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    return subprocess.run(
        [sys.executable, *(launcher if num_processes > 1 else []), "-m", "capfw", "run", str(spec)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(spec.parent / "site"),
        },
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that Python takes for one with the odd parts installed."""
    info = tmp_path / "site/odd_parts-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "plugins/odd_parts.py", info.parent)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd_parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[capfw]\nodd_parts = odd_parts\n")
    return info.parent


def test_an_encoder_with_a_parameter_that_it_does_not_use_is_tuned_by_two_processes(tiny: Write) -> None:
    weights = {}
    for count in (1, 2):
        spec = tiny(
            f"{count}.json",
            run_dir=f"run-{count}",
            encoder=CLIP,
            mapper={"name": "transformer", "prefix_length": 2, "num_layers": 1, "num_heads": 2, "dropout": 0.0},
            decoder={"dropout": 0.0},
            train={"tune": {"encoder": {}}, "lr": 0.0005, "micro_batch_size": 5},
        )
        done = _run(spec, count)
        assert done.returncode == 0, done.stderr
        [file] = spec.parent.glob(f"run-{count}/checkpoints/step-10/weights.safetensors")
        weights[count] = load_file(file)
    for name, value in weights[1].items():
        assert weights[2][name] == pytest.approx(value, rel=0, abs=1e-4), name


@pytest.mark.usefixtures("site")
def test_a_signal_that_reaches_one_process_stops_both_after_a_checkpoint(tiny: Write) -> None:
    spec = tiny(train={"objective": {"name": "odd", "mode": "signal"}})
    done = _run(spec, 2)
    assert done.returncode != 0
    assert "stopped after step 5 of 10" in done.stderr
    codes = set(re.findall(r"exitcode +: (-?\d+)", done.stderr))
    assert {"130"} <= codes <= {"130", "-15"}, done.stderr  # torchrun ends (-15) a process that is a moment behind
    last = json.loads((spec.parent / "run/checkpoints/last.json").read_text())
    assert last["step"] == 5  # the end of the epoch in which the signal came
