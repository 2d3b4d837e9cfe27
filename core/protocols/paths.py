"""Path types for config models. Paths are relative to the spec file, and validation checks that they exist.

The engine validates with a context: `base_dir` (the folder of the spec) and `check_files` (False when it reloads an old
run, whose data may be gone). Without a context, paths are relative to the working directory and are checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, ValidationInfo
from pydantic_core import PydanticCustomError

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def _absolute(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base_dir", Path.cwd())
    return Path(base, path.expanduser()).resolve()


def _checks(info: ValidationInfo) -> bool:
    return bool((info.context or {}).get("check_files", True))


def _missing(what: str, path: Path) -> PydanticCustomError:
    parent = next((p for p in path.parents if p.is_dir()), path.parent)
    return PydanticCustomError(
        "missing_file",
        "there is no {what} at {path}",
        {"what": what, "path": str(path), "parent": str(parent)},
    )


def _input_file(path: Path, info: ValidationInfo) -> Path:
    path = _absolute(path, info)
    if _checks(info) and not path.is_file():
        raise _missing("file", path)
    return path


def _input_folder(path: Path, info: ValidationInfo) -> Path:
    path = _absolute(path, info)
    if _checks(info) and not path.is_dir():
        raise _missing("folder", path)
    return path


def is_local_path(weights: str) -> bool:
    """Whether `weights` is a path: it starts with "/", "./", "../" or "~", or has the suffix of a weights file."""
    return weights.startswith(("/", "./", "../", "~")) or weights in (".", "..") or weights.endswith(WEIGHT_SUFFIXES)


def _weights(weights: str, info: ValidationInfo) -> str:
    if not is_local_path(weights):
        return weights
    path = _absolute(Path(weights), info)
    if _checks(info) and not path.exists():
        raise _missing("file or folder", path)
    return str(path)


InputFile: TypeAlias = Annotated[Path, AfterValidator(_input_file)]
InputFolder: TypeAlias = Annotated[Path, AfterValidator(_input_folder)]
OutputPath: TypeAlias = Annotated[Path, AfterValidator(_absolute)]
Weights: TypeAlias = Annotated[str, AfterValidator(_weights)]
"""A published name, a local path (see `is_local_path`) or "random"."""
