"""examples/own_photos.ipynb runs from top to bottom, in a kernel of its own, and is committed without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples/own_photos.ipynb"


def outputs_of(cell: Any) -> list[Any]:
    return list(cell.get("outputs", []))


def printed(cell: Any) -> str:
    return "".join(output.get("text", "") for output in outputs_of(cell) if output.get("name") == "stdout")


def test_notebook_is_committed_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]

    assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_notebook_makes_a_captioner_of_its_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(library, reason=f"the notebook is executed with {library}: not installed")
    from nbclient import NotebookClient
    from nbformat import read

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = read(NOTEBOOK, as_version=4)

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    _, spec, scores, shown, captions = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert "Wrote own-photos/mine.json" in printed(spec)
    [cider] = re.findall(r"^CIDEr +([0-9.]+)$", printed(scores), re.MULTILINE)
    assert float(cider) > 0.3  # 1.4; an untrained captioner has 0
    assert len([output for output in outputs_of(shown) if "image/png" in output.get("data", {})]) == 4
    assert len(re.findall(r"^own-photos/photos/\d+\.png \| \w+", printed(captions), re.MULTILINE)) == 3
    assert (tmp_path / "own-photos/runs/mine/report.html").is_file()
