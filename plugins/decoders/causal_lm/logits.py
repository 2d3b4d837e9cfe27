"""Computes logits at chosen positions only, for any architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_Select = Callable[[Tensor], Tensor]
_selection: ContextVar[_Select | None] = ContextVar("selection", default=None)


def make_selective(model: PreTrainedModel) -> None:
    """Lets `head_reads` choose the inputs of the output layer of `model`; call it once, after building the model.

    Positions without a target then cost nothing. The scaling or capping of logits in some architectures still applies;
    separate calls of body and head would lose it. transformers' `logits_to_keep` selects whole columns only.
    """
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module), f"{type(model).__name__} has no output layer"
    head.register_forward_pre_hook(_reads_selection)


def _reads_selection(_head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    select = _selection.get()
    return None if select is None else (select(inputs[0]), *inputs[1:])


@contextmanager
def head_reads(select: _Select) -> Iterator[None]:
    """Within the block, in this thread, output layers read `select` of their hidden states (B, T, E)."""
    token = _selection.set(select)
    try:
        yield
    finally:
        _selection.reset(token)


def wide(logits: Tensor) -> Tensor:
    """Returns the logits in float32, or in their own dtype where it is wider, for sums of many small terms."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
