"""Stored loss curves and captions: what a refactor must not change.

`python tests/net/test_curves.py` stores them anew, which only a change that is meant to change numbers may do.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import pytest

from capfw.core.registry import Registry

FILE = Path(__file__).with_name("curves.json")
_module = importlib.util.spec_from_file_location("net_runs", Path(__file__).with_name("runs.py"))
assert _module is not None
assert _module.loader is not None
runs = importlib.util.module_from_spec(_module)
_module.loader.exec_module(runs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", list(runs.COMBINATIONS))
def test_losses_and_captions_are_the_stored_ones(name: str, tmp_path: Path) -> None:
    stored = json.loads(FILE.read_text())
    found, expected = runs.outcome_of(name, tmp_path, Registry.discover()), stored["outcomes"][name]
    assert len(expected["losses"]) == runs.NUM_STEPS
    # Equal bit for bit where they were stored; other kernels sum in another order.
    is_same_machine = stored["machine"] == runs.machine()
    tolerance = 0.0 if is_same_machine else 1e-4
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance, abs=tolerance)
    assert found["captions"] == expected["captions"]


def main() -> None:
    """Stores the outcomes, and reports how far the losses moved."""
    before = json.loads(FILE.read_text())["outcomes"] if FILE.is_file() else {}
    outcomes = {}
    for name in runs.COMBINATIONS:
        with tempfile.TemporaryDirectory() as folder:
            outcomes[name] = runs.outcome_of(name, Path(folder), Registry.discover())
        if name in before:
            pairs = zip(outcomes[name]["losses"], before[name]["losses"], strict=True)
            sys.stdout.write(f"{name}: moved by at most {max(abs(a - b) for a, b in pairs):.2e}\n")
    FILE.write_text(json.dumps({"machine": runs.machine(), "outcomes": outcomes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
