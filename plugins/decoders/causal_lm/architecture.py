"""What an architecture of transformers can do: attend to the past only, and leave out padding."""

from __future__ import annotations

import inspect

import torch
from transformers import PreTrainedModel

from ....core.protocols import ComponentError


def can_leave_out_padding(model: PreTrainedModel) -> bool:
    """Whether rows of unequal length may stand in one batch, padded on the left.

    The model must take a mask and the positions, and must not be recurrent: a state would have read the padding.
    """
    parameters = inspect.signature(type(model).forward).parameters
    is_recurrent = getattr(model, "_is_stateful", False)  # transformers' own word; it has no public one
    return {"attention_mask", "position_ids"} <= parameters.keys() and not is_recurrent


@torch.no_grad()
def require_causal(model: PreTrainedModel) -> None:
    """Raises `ComponentError` when the first position sees the second, as in an encoder: the loss would be a leak."""
    model.eval()
    width = model.get_input_embeddings().weight.shape[1]
    shared, one, other = torch.arange(3.0 * width).square().sin().view(3, width)  # three unlike vectors, nothing drawn
    inputs = torch.stack([torch.stack([shared, one]), torch.stack([shared, other])])  # (2, 2, E)
    try:
        first = model(inputs_embeds=inputs, use_cache=False).logits[:, 0]  # (2, V)
    except Exception as err:  # sizes that do not fit each other are found here, by whatever layer meets them
        raise ComponentError(
            f"a {type(model).__name__} of this architecture cannot run: {err}",
            option="architecture",
            fix="Correct its sizes; the documentation of transformers says which must fit.",
        ) from err
    if not torch.allclose(first[0], first[1], rtol=0, atol=1e-5 * float(first.abs().max())):
        raise ComponentError(
            f"{type(model).__name__} attends to later positions: it is no causal language model.",
            option="weights",
            fix='Name a causal one; for encoders such as BERT, config.json must say "is_decoder": true.',
        )
