"""Compares tensors within rounding, and describes their shapes."""

from __future__ import annotations

import torch
from torch import Tensor


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal up to the rounding of float32 sums, which grows with the size of the numbers."""
    if one.shape != other.shape:
        return False
    scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
    return torch.allclose(one.float(), other.float(), rtol=1e-4, atol=2e-5 * scale)


def shape_of(value: object) -> str:
    """A tensor's shape and dtype in words, or the type of an object that is not a tensor."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
