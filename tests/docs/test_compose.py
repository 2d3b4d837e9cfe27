"""examples/compose.py runs as it stands, into a folder or into none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [["written"], []], ids=["folder", "no folder"])
def test_compose_runs(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/compose.py", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [line.split(".")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert steps == ["1", "2", "3", "4", "5", "6"]
    written = sorted(path.name for path in tmp_path.glob("*/*"))
    assert written == (["beams", "references.json", "runs"] if arguments else [])
