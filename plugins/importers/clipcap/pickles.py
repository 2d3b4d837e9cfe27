"""Reads plain pickles of tensors without running code from them."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ....core.protocols import BadCheckpoint


def _storage(data: bytes) -> Any:
    """Does the work of `torch.storage._load_from_bytes` without running code from `data`."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


# All names that a pickled CPU tensor refers to. Python's own values (dict, list, str, numbers) need no name.
_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): OrderedDict,
}


class _TensorUnpickler(pickle.Unpickler):
    """Finds only the parts of a tensor; raises `UnpicklingError` for any other name, before anything is called."""

    def find_class(self, module_name: str, global_name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which is not part of a tensor"
            ) from None


def read_pickle(file: Path) -> Any:
    """Reads a pickle of Python's own values and CPU tensors.

    ClipCap writes its features with `pickle.dump`, which `torch.load(weights_only=True)` cannot open. Here the outer
    pickle may name only the parts of a tensor, and `weights_only=True` reads their data.

    Raises `BadCheckpoint`, with the first name that is not allowed, when the file holds anything else or is damaged.
    """
    try:
        with file.open("rb") as opened:
            return _TensorUnpickler(opened).load()
    except Exception as err:  # a damaged pickle raises almost anything
        raise BadCheckpoint(
            f"{file} cannot be read safely: {err}.",
            fix="Save the features again as tensors and plain values (a pickle can run any code), or let capfw encode the "
            "images.",
        ) from err
