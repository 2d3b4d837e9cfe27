"""The tokens of a caption: their texts, and their probabilities under the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile

import torch
from torch.nn.utils.rnn import pad_sequence

from ..protocols import Prefix, TokenBatch
from .model import CaptioningModel


def tokens_of(
    model: CaptioningModel, prefix: Prefix, ids: Sequence[Sequence[int]]
) -> list[tuple[tuple[str, float], ...]]:
    """The texts of the tokens of each row's caption, and their natural-log probabilities, by teacher forcing."""
    if not any(ids):
        return [() for _ in ids]
    log_probs = model.log_probs(prefix, token_batch(ids, prefix.vectors.device)).tolist()
    texts = token_texts(model, ids)
    return [tuple(zip(row, values, strict=False)) for row, values in zip(texts, log_probs, strict=True)]


def token_batch(ids: Sequence[Sequence[int]], device: torch.device) -> TokenBatch:
    """Rows of ids, padded on the right."""
    rows = [torch.tensor(row, dtype=torch.int64) for row in ids]
    lengths = torch.tensor([len(row) for row in ids])
    padded = pad_sequence(rows, batch_first=True)  # (B, T)
    mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return TokenBatch(padded.to(device), mask.to(device))


def token_texts(model: CaptioningModel, ids: Sequence[Sequence[int]]) -> list[list[str]]:
    """The part of the caption that each token adds; "" for EOS, and for a token that is only a part of a letter."""
    begun = iter(model.detokenize([row[: length + 1] for row in ids for length in range(len(row))]))
    found = []
    for row in ids:
        texts = [next(begun) for _ in row]
        ends = [0]
        for text in texts:
            # Half a letter decodes to a sign of its own, which the whole caption does not have.
            same = takewhile(lambda letters: letters[0] == letters[1], zip(text, texts[-1], strict=False))
            ends.append(max(ends[-1], sum(1 for _ in same)))
        found.append([texts[-1][start:end] for start, end in pairwise(ends)])
    return found
