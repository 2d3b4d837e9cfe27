"""The README's Python runs as printed, on a run like the quickstart's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from capfw import load_spec, run

ROOT = Path(__file__).parents[1]


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = json.loads((ROOT / "examples/quickstart.json").read_text())
    spec["data"].update(num_train=8, num_val=2, num_test=2)
    spec["train"]["max_steps"] = 2
    spec["run_dir"] = str(tmp_path / "runs/quickstart")
    run(load_spec(spec))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
