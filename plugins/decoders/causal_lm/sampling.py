"""Nucleus sampling with one stream of random numbers per image."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_numbers(seeds: Tensor, num_captions: int, max_tokens: int) -> Tensor:
    """Returns numbers (B * num_captions, max_tokens) float64 in [0, 1): one per token.

    Each image has a stream that begins at its seed. Its captions take their numbers from the stream in turn.
    """
    streams = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    numbers = [torch.rand(num_captions, max_tokens, dtype=torch.float64, generator=stream) for stream in streams]
    return torch.cat(numbers).to(seeds.device)


def draw(logits: Tensor, numbers: Tensor, *, top_p: float, temperature: float) -> Tensor:
    """Draws a token (rows,) from the nucleus of each row of logits (rows, V), with numbers (rows,) float64 in [0, 1).

    The nucleus (Holtzman et al., 2020, arXiv 1904.09751, section 3.1) is the smallest set of most likely tokens whose
    probabilities sum to `top_p`. The token is the one at which the cumulative probability passes the number. Ties keep
    the order of the vocabulary and sums are float64, so the same logits and numbers give the same token on every device.
    """
    probabilities, tokens = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    cumulated = probabilities.cumsum(-1, dtype=torch.float64)  # (rows, V)
    size = (cumulated - probabilities <= top_p).sum(
        -1, keepdim=True
    )  # (rows, 1): tokens whose predecessors do not pass it
    mass = cumulated.gather(1, size - 1)
    places = torch.searchsorted(cumulated, numbers[:, None] * mass, right=True)
    return tokens.gather(1, places.minimum(size - 1))[:, 0]
