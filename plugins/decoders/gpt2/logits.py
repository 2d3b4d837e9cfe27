"""Logits at chosen positions only, for any architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@contextmanager
def head_reads(model: PreTrainedModel, select: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it, the output layer of `model` sees `select` of its hidden states (B, T, E), and the logits follow.

    What is not a target then costs nothing, and the scaling or capping that some architectures put behind the layer
    still happens (calling body and head by hand would lose it). transformers' `logits_to_keep` selects whole columns.
    """
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module), f"{type(model).__name__} has no output layer"
    hook = head.register_forward_pre_hook(lambda _, inputs: (select(inputs[0]),))
    try:
        yield
    finally:
        hook.remove()


def wide(logits: Tensor) -> Tensor:
    """Logits as float32, or as they are where they are wider: sums of many small terms follow."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
