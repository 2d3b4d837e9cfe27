"""Next-token logits of a language model, step by step, for rows of equal or unequal length."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ....core.protocols import ComponentError
from .logits import head_reads, wide


@dataclass(frozen=True)
class Context:
    """The inputs before the captions (rows, length, E), and their mask where rows are padded at the left."""

    inputs: Tensor
    mask: Tensor | None = None  # (rows, length) bool

    def repeated(self, times: int) -> Context:
        """Returns the context with each row repeated `times` times, copies side by side."""
        mask = None if self.mask is None else self.mask.repeat_interleave(times, dim=0)
        return Context(self.inputs.repeat_interleave(times, dim=0), mask)


class Steps:
    """Next-token logits for a batch of rows that grow by one token per step.

    With a cache each step feeds one position; without one it feeds all positions again.
    """

    def __init__(self, model: PreTrainedModel, context: Context, *, use_cache: bool) -> None:
        self.model, self.use_cache = model, use_cache
        self.inputs = context.inputs  # (rows, length, E): the input of the next forward pass
        self.mask = context.mask  # (rows, length so far)
        self.cache = None
        # transformers 5.24 renamed the argument and the output; the old name warns, and 5.40 removes it.
        parameters = inspect.signature(type(model).forward).parameters
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"

    def logits(self) -> Tensor:
        """Returns the logits (rows, V) of the next token, float32 or wider."""
        kept = {} if self.cache is None else {self._cache_name: self.cache}  # not every model accepts the argument
        with head_reads(lambda hidden: hidden[:, -1]):
            out = self.model(inputs_embeds=self.inputs, use_cache=self.use_cache, **kept, **self._padding())
        if self.use_cache:
            self.cache = out.get(self._cache_name)
            if self.cache is None:
                raise ComponentError(
                    f"{type(self.model).__name__} has no cache of keys and values.",
                    fix="Set /generate/use_cache to false.",
                )
        return wide(out.logits)

    def _padding(self) -> dict[str, Tensor]:
        """Returns the mask and the positions, which begin at 0 in each row; nothing when no row is padded."""
        if self.mask is None:
            return {}
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)  # (rows, length so far)
        return {"attention_mask": self.mask.long(), "position_ids": positions[:, -self.inputs.shape[1] :]}

    def extend(self, tokens: Tensor, rows: Tensor | None = None) -> None:
        """Appends tokens (rows,). `rows` names the earlier row that each token continues; None: row i continues row i."""
        added = self.model.get_input_embeddings()(tokens)[:, None]  # (rows, 1, E)
        if self.mask is not None:
            before = self.mask if rows is None else self.mask[rows]
            self.mask = torch.cat([before, before.new_ones(len(tokens), 1)], dim=1)
        if self.cache is None:
            inputs = self.inputs if rows is None else self.inputs[rows]
            self.inputs = torch.cat([inputs, added], dim=1)
            return
        if rows is not None:
            self.cache.reorder_cache(rows)
        self.inputs = added
