"""Checks of an architecture: whether it attends to the past only, and whether it can leave out padding."""

from __future__ import annotations

import inspect

import torch
from transformers import PreTrainedModel

from ....core.protocols import ComponentError


def can_leave_out_padding(model: PreTrainedModel) -> bool:
    """Returns whether a batch may hold rows of unequal length, padded at the left.

    The model must accept a mask and positions, and must not be recurrent: its state would have read the padding.
    """
    parameters = inspect.signature(type(model).forward).parameters
    is_recurrent = getattr(model, "_is_stateful", False)  # transformers has no public name for it
    return {"attention_mask", "position_ids"} <= parameters.keys() and not is_recurrent


@torch.no_grad()
def require_causal(model: PreTrainedModel) -> None:
    """Raises `ComponentError` when position 1 attends to position 2, as in BERT: the targets would leak into the input."""
    model.eval()
    width = model.get_input_embeddings().weight.shape[1]
    shared, one, other = (
        torch.arange(3.0 * width).square().sin().view(3, width)
    )  # three different vectors, without a generator
    inputs = torch.stack([torch.stack([shared, one]), torch.stack([shared, other])])  # (2, 2, E)
    try:
        first = model(inputs_embeds=inputs, use_cache=False).logits[:, 0]  # (2, V)
    except Exception as err:  # sizes that do not match: any layer may raise, with any exception
        raise ComponentError(
            f"a {type(model).__name__} of this architecture cannot run: {err}",
            option="architecture",
            fix="Correct its sizes; the documentation of transformers lists which must match.",
        ) from err
    if not torch.allclose(first[0], first[1], rtol=0, atol=1e-5 * float(first.abs().max())):
        raise ComponentError(
            f"{type(model).__name__} attends to later positions: it is no causal language model.",
            option="weights",
            fix='Name a causal one. An encoder such as BERT needs "is_decoder": true in its config.json.',
        )
