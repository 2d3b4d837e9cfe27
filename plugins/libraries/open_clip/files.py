"""Reads the weights files of whole CLIP models: those of open_clip, and OpenAI's archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from ....core.protocols import BadCheckpoint, read_weights

_OPENAI_FACTS = ("input_resolution", "context_length", "vocab_size")  # buffers that only OpenAI's models have


def read_clip_file(file: Path) -> tuple[dict[str, Tensor], bool]:
    """Returns the state dict of both towers, and whether OpenAI wrote the file (its models use quick-GELU).

    Raises `BadCheckpoint` when the file cannot be read.
    """
    if file.suffix != ".safetensors" and _is_torchscript(file):
        try:
            state = torch.jit.load(file, map_location="cpu").state_dict()  # its reader runs no Python
        except (RuntimeError, ValueError) as err:
            raise BadCheckpoint(
                f"{file} cannot be read as a TorchScript archive: {err}",
                option="weights",
                fix="Download the file again, or name another one.",
            ) from err
    else:
        state = read_weights(file)
    is_from_openai = _OPENAI_FACTS[0] in state
    return {name: value for name, value in state.items() if name not in _OPENAI_FACTS}, is_from_openai


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
