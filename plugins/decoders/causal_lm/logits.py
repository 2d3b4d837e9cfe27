"""Logits at chosen positions only, for any architecture."""

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
    """Lets `head_reads` choose what the output layer of `model` reads; called once, when the model is built.

    What is not a target then costs nothing, and the scaling or capping that some architectures put behind the layer
    still happens (calling body and head by hand would lose it). transformers' `logits_to_keep` selects whole columns.
    """
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module), f"{type(model).__name__} has no output layer"
    head.register_forward_pre_hook(_reads_selection)


def _reads_selection(_head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    select = _selection.get()
    return None if select is None else (select(inputs[0]), *inputs[1:])


@contextmanager
def head_reads(select: _Select) -> Iterator[None]:
    """Within it, in this thread alone, output layers read `select` of their hidden states (B, T, E)."""
    token = _selection.set(select)
    try:
        yield
    finally:
        _selection.reset(token)


def wide(logits: Tensor) -> Tensor:
    """Logits as float32, or as they are where they are wider: sums of many small terms follow."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
