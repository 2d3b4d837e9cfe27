"""The pages that are written from the code are what the code says now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from capfw.core.protocols import KINDS
from capfw.core.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    found = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs/generate_reference.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["reference.md", "spec.md", "plugins.md"])
def test_committed_page_is_what_the_generator_writes(generator: ModuleType, name: str) -> None:
    page = ROOT / "docs" / name
    assert page.read_text("utf-8") == generator.pages()[page], (
        f"docs/{name} differs from the code. Run `python docs/generate_reference.py` (or `make docs`) and commit it."
    )


def test_page_of_scores_names_every_metric_and_what_it_needs() -> None:
    text = (ROOT / "docs/scores.md").read_text("utf-8")
    for component in Registry.discover(only=["capfw"]).components("metric"):
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{component.name}` |")]
        assert all(need in row for need in component.example.needs()), row
        assert all(name in row for name in component.example.score_names()) or component.name == "bleu", row


def test_reference_has_every_component_of_capfw_and_a_description_of_each_option(generator: ModuleType) -> None:
    registry = Registry.discover(only=["capfw"])
    text = generator.reference()
    expected = [f"### {kind} {component.name}" for kind in KINDS for component in registry.components(kind)]
    assert [line for line in text.splitlines() if line.startswith("### ")] == expected
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [f"## {row.plural}" for kind, row in KINDS.items() if registry.components(kind)]
