"""The files that make a folder the directory of a trained run, read without torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import RequestError
from .provenance import ENVIRONMENT

FORMAT = 2
"""The format of run directories. It rises when capfw can no longer read the older one."""
SPEC_FILE = "spec.json"
BEST_FILE = Path("checkpoints/best.json")
_NAME_THE_FOLDER = "Name the folder that `capfw run` wrote (/run_dir in the spec)."


def require_trained(run_dir: Path) -> None:
    """Raises `RequestError` where there is no run, where it has another format, or where it has no best checkpoint."""
    if run_dir.is_file():
        raise RequestError("this is a file, not a run directory.", where=str(run_dir), fix=_instead_of(run_dir))
    if not (run_dir / SPEC_FILE).is_file():
        raise RequestError(
            "this is not a run directory: it has no spec.json.",
            where=str(run_dir),
            fix=_NAME_THE_FOLDER,
        )
    require_format(run_dir)
    if not (run_dir / BEST_FILE).is_file():
        raise RequestError(
            "this run is not trained yet.",
            where=str(run_dir),
            fix=f"Finish it first: capfw run {run_dir / SPEC_FILE}",
        )


def _instead_of(file: Path) -> str:
    """The fix for a file in place of a run directory: the run directory of a spec, or how to get one."""
    try:
        run_dir = json.loads(file.read_text(encoding="utf-8-sig"))["run_dir"]
        named = Path(os.path.relpath(Path(file.resolve().parent, Path(run_dir).expanduser())))
    except (OSError, ValueError, KeyError, TypeError):
        return _NAME_THE_FOLDER
    if not (named / BEST_FILE).is_file():
        return f"It is a spec, and its run is not trained yet. Run it first: capfw run {file}"
    return f"It is a spec. Name its run directory: {named}"


def require_format(run_dir: Path) -> None:
    """Raises `RequestError` for a run directory that another version of capfw wrote in another format."""
    file = run_dir / ENVIRONMENT
    found = json.loads(file.read_text(encoding="utf-8")).get("format", 1) if file.is_file() else 1
    if found != FORMAT:
        raise RequestError(
            f"this run directory has format {found}, and this version of capfw reads format {FORMAT}.",
            where=str(run_dir),
            fix="Train again in another /run_dir, or use the version of capfw in its environment.json.",
        )
