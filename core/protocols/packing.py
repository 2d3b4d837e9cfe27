"""Rows of unequal length without gaps: how prefix vectors, text and caption come to stand one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


def pack_rows(values: Tensor, mask: Tensor, *, padding: Literal["left", "right"]) -> tuple[Tensor, Tensor]:
    """Moves what is under `mask` (B, L) together in each row, in order, and cuts off columns that no row needs.

    values (B, L, ...) -> (B, longest row, ...) and its mask; what was under False stands on the side of the padding.
    """
    import torch  # here, because core.protocols is imported without it

    longest = int(mask.sum(1).max()) if len(mask) else 0
    is_later = ~mask if padding == "right" else mask
    order = is_later.byte().argsort(dim=1, stable=True)  # (B, L)
    columns = order[:, :longest] if padding == "right" else order[:, order.shape[1] - longest :]  # (B, longest row)
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    return values[rows, columns], mask[rows, columns]
