"""Writes files that are either whole or absent: to a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary name beside `path`, and renames the result to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text."""
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object, *, indent: int | None = 2) -> None:
    """Writes a JSON value, indented for human readers."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, default=str) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors as safetensors."""
    from safetensors.torch import save_file  # it imports torch, which the writers of text do without

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_aside(path, lambda aside: save_file(contiguous, str(aside), metadata=dict(metadata or {})))
