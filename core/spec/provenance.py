"""The packages that provided the components of a run, read from the run directory, for the error of a missing one."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENVIRONMENT = "environment.json"


class Provenance:
    """The packages that runs recorded; empty without a readable record."""

    def __init__(self, *run_dirs: Path) -> None:
        self._recorded: dict[str, Any] = {}
        for folder in reversed(run_dirs):
            self._recorded |= _recorded(folder / ENVIRONMENT)

    def hint(self, kind: str, name: str) -> str | None:
        """The package from which the run took this component, and how to install it; None without a record."""
        entry = self._recorded.get(f"{kind} {name}")
        if not isinstance(entry, Mapping):
            return None
        distribution, version = str(entry.get("distribution") or ""), str(entry.get("version") or "")
        if not distribution:
            return f'This run used "{name}" from plugin "{entry.get("plugin")}", an object that was passed in Python.'
        used = f'This run used "{name}" from {distribution} {version}'.rstrip()
        try:
            installed = importlib.metadata.version(distribution)
            return f"{used}{'; it' if installed == version else f'; {installed}'} is installed here."
        except importlib.metadata.PackageNotFoundError:
            return f"{used}, which is not installed: pip install {distribution}"


def _recorded(file: Path) -> dict[str, Any]:
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))["plugins"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return recorded if isinstance(recorded, dict) else {}
