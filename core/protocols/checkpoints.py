"""Reads weights files without running code in them, and loads weights only when every key and shape fits."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadCheckpoint, MissingWeights

if TYPE_CHECKING:
    from torch import Tensor, nn

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_NUM_SHOWN = 3


def read_weights(file: Path, *, option: str = "weights") -> dict[str, Tensor]:
    """Returns the state dict of a .safetensors file or a torch pickle, on the CPU, in the stored dtypes.

    Pickles are read with `weights_only=True`, so code in a pickle never runs. Weights under the key "state_dict",
    "model_state_dict" or "model" are unwrapped, and the "module." prefix of a parallel model is removed.

    Raises `MissingWeights` when there is no such file. Raises `BadCheckpoint`, naming the file, when it is damaged or
    truncated, or holds anything but named tensors.
    """
    import torch  # the light half of a plugin imports this module
    from safetensors.torch import load_file

    if not file.is_file():
        raise MissingWeights(f"there is no file {file}", option=option)
    try:
        if file.suffix == ".safetensors":
            content: object = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as err:  # the readers raise almost anything on damaged bytes
        raise BadCheckpoint(
            f"{file} cannot be read as weights: {unreadable_reason(err)}",
            option=option,
            fix="Download or save it again. It is damaged, truncated, or holds more than tensors (its code never runs).",
        ) from err
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(v, torch.Tensor) for v in content.values())
    ):
        raise BadCheckpoint(f"{file} is not a state dict (names and tensors).", option=option)
    state = {str(name): value for name, value in content.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], *, source: object, option: str = "weights") -> None:
    """Copies `state` into `module`, in the dtypes of `module`.

    Raises `BadCheckpoint` with the first keys and shapes that differ, and leaves `module` unchanged, unless all match.
    `source` names the weights in the message; it is usually their file.
    """
    require_layout(state, {k: tuple(v.shape) for k, v in module.state_dict().items()}, source=source, option=option)
    module.load_state_dict(dict(state))


def require_layout(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, source: object, option: str = "weights"
) -> None:
    """Raises `BadCheckpoint` with the first keys and shapes that differ, unless `state` has exactly these."""
    missing = [name for name in shapes if name not in state]
    unexpected = [name for name in state if name not in shapes]
    different = [
        f"{name} {tuple(state[name].shape)} (needed {shape})"
        for name, shape in shapes.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_NUM_SHOWN])}{', ...' if len(names) > _NUM_SHOWN else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", different))
        if names
    ]
    if problems:
        raise BadCheckpoint(
            f"{source} does not fit this architecture: {'; '.join(problems)}.",
            option=option,
            fix="Name the architecture the file was saved from, or another file.",
        )


def unreadable_reason(err: Exception) -> str:
    """The first line of a reader's error.

    For a pickle that torch refused, the line names the object that torch met, without torch's advice to run it anyway.
    """
    text = str(err)
    if "WeightsUnpickler error:" in text:
        text = text.partition("WeightsUnpickler error:")[2].strip()
    return next(iter(text.splitlines()), "") or type(err).__name__
