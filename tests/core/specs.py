"""Writes specs and reads their problems, for the tests of specs."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from capfw.core.errors import Problem, SpecError
from capfw.core.registry import Registry
from capfw.core.spec import load_spec

Toys = ModuleType


def problems(registry: Registry, source: Any, **arguments: Any) -> dict[str, Problem]:
    with pytest.raises(SpecError) as caught:
        load_spec(source, registry=registry, **arguments)
    assert caught.value.exit_code == 2
    found = {problem.pointer: problem for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems), "one problem a place"
    return found


def write(folder: Path, content: object) -> Path:
    file = folder / "spec.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file
