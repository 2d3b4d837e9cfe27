"""Packs rows of unequal length without gaps, so that prefix vectors, text and caption are contiguous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


def pack_rows(values: Tensor, mask: Tensor, *, padding: Literal["left", "right"]) -> tuple[Tensor, Tensor]:
    """Moves the values under `mask` (B, L) together in each row, in order, and drops the columns that no row needs.

    values (B, L, ...) -> (B, longest row, ...) and its mask. Values where the mask is False move to the padding side.
    """
    import torch  # here, because core.protocols must import without torch

    longest = int(mask.sum(1).max()) if len(mask) else 0
    is_later = ~mask if padding == "right" else mask
    order = is_later.byte().argsort(dim=1, stable=True)  # (B, L)
    columns = order[:, :longest] if padding == "right" else order[:, order.shape[1] - longest :]  # (B, longest row)
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    return values[rows, columns], mask[rows, columns]
