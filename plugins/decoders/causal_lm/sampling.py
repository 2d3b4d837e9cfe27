"""Nucleus sampling, with a stream of random numbers for each image."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_numbers(seeds: Tensor, num_captions: int, max_tokens: int) -> Tensor:
    """Numbers (B * num_captions, max_tokens) float64 in [0, 1): one for each token that may be drawn.

    Each image has a stream that begins at its seed; its captions take their numbers from it one after the other.
    """
    streams = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    numbers = [torch.rand(num_captions, max_tokens, dtype=torch.float64, generator=stream) for stream in streams]
    return torch.cat(numbers).to(seeds.device)


def draw(logits: Tensor, numbers: Tensor, *, top_p: float, temperature: float) -> Tensor:
    """A token of the nucleus for each row of logits (rows, V): the one where its cumulated probability passes the number.

    The nucleus (Holtzman et al., 2020, arXiv 1904.09751, section 3.1) is the likeliest tokens, down to the one that
    reaches `top_p`. numbers (rows,) float64 in [0, 1). Equal probabilities stand in the order of the vocabulary, and sums
    are float64, so that the same logits and numbers give the same token on every device.
    """
    probabilities, tokens = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    cumulated = probabilities.cumsum(-1, dtype=torch.float64)  # (rows, V)
    size = (cumulated - probabilities <= top_p).sum(-1, keepdim=True)  # (rows, 1): what stands before has not passed it
    mass = cumulated.gather(1, size - 1)
    places = torch.searchsorted(cumulated, numbers[:, None] * mass, right=True)
    return tokens.gather(1, places.minimum(size - 1))[:, 0]
