"""Plain pickles of tensors, read without running what they may carry."""

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
    """What `torch.storage._load_from_bytes` does, but for the code that `data` may hold."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


# All that a pickled CPU tensor refers to. Python's own values (dict, list, str, numbers) need no name.
_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): OrderedDict,
}


class _TensorUnpickler(pickle.Unpickler):
    """Finds nothing but what a tensor is made of; a name of anything else ends the reading before it is called."""

    def find_class(self, module_name: str, global_name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is no tensor") from None


def read_pickle(file: Path) -> Any:
    """The content of a pickle made of Python's own values and CPU tensors.

    ClipCap writes its features with `pickle.dump`, which `torch.load(weights_only=True)` cannot open; here the outer
    pickle may name only the parts of a tensor, and their data is read with `weights_only=True`.

    Raises `BadCheckpoint`, with the first name that was asked for, when the file holds anything else or is damaged.
    """
    try:
        with file.open("rb") as opened:
            return _TensorUnpickler(opened).load()
    except Exception as err:  # a damaged pickle raises almost anything
        raise BadCheckpoint(
            f"{file} cannot be read safely: {err}.",
            fix="A pickle can run any code. This one holds more than tensors and plain values, or is damaged; save the "
            "features anew, or let capfw encode the images.",
        ) from err
