"""The loss of teacher forcing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import nn

from ....core.protocols import Batch, CaptionModel, Loss, Metric, Prefix
from . import CrossEntropyConfig


class CrossEntropy(nn.Module):
    """Sums the negative log-probability (nats) of every target token; each caption is a row."""

    rows: Literal["captions"] = "captions"
    is_row_wise = True

    def __init__(self, config: CrossEntropyConfig, *, metrics: Sequence[Metric]) -> None:
        super().__init__()

    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        nll = model.weighted_nll(prefix, batch.tokens, batch.tokens.mask.float())
        return {"cross-entropy": Loss(nll, per="token")}
