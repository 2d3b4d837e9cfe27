"""A tiny model in place of mapper and decoder, for the checks of objectives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..protocols import Generated, GenerateOptions, Prefix, TokenBatch
from .subjects import CAPTIONS

_WORDS = ("<eos>", *sorted({word for caption in CAPTIONS for word in caption.split()}))
_EOS = 0


class TinyCaptioner(nn.Module):
    """A `CaptionModel`: each token depends on the mean of the row's prefix, the token before it and the row's text."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(_WORDS), width)
        self.head = nn.Linear(width, len(_WORDS))

    def tokenize(self, captions: Sequence[str]) -> TokenBatch:
        """The tokens of captions made of the words of `CAPTIONS`, padded on the right."""
        ids = [[*map(_WORDS.index, caption.split()), _EOS] for caption in captions]
        length = max(map(len, ids))
        mask = torch.tensor([[position < len(row) for position in range(length)] for row in ids])
        return TokenBatch(torch.tensor([row + [_EOS] * (length - len(row)) for row in ids]), mask)

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """(B, T) float32; 0 where the mask is False."""
        before = self.embed(torch.where(tokens.mask, tokens.ids, _EOS))[:, :-1]  # (B, T - 1, E)
        before = torch.cat([torch.zeros_like(before[:, :1]), before], dim=1)  # (B, T, E)
        logits: Tensor = self.head(torch.tanh(self._start(prefix)[:, None] + before))
        ids = torch.where(tokens.mask, tokens.ids, _EOS)
        found = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        return found.masked_fill(~tokens.mask, 0.0)

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        """`-(weights * log_probs).sum()`."""
        return -(weights * self.log_probs(prefix, tokens)).sum()

    @torch.no_grad()
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        """Samples the captions of each row from its own generator, for every method."""
        ids, log_probs = [], []
        for start, seed in zip(self._start(prefix), seeds.tolist(), strict=True):
            generator = torch.Generator().manual_seed(seed)
            for _ in range(options.num_captions):
                caption, total = self._sampled(start, min(options.max_tokens, 12), generator)
                ids.append(caption)
                log_probs.append(total)
        return Generated(ids, torch.stack(log_probs))

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Words, without EOS."""
        return [" ".join(_WORDS[token] for token in row if token != _EOS) for row in ids]

    def _sampled(self, start: Tensor, length: int, generator: torch.Generator) -> tuple[list[int], Tensor]:
        caption, total, before = list[int](), torch.zeros(()), torch.zeros_like(start)
        while len(caption) < length and (not caption or caption[-1] != _EOS):
            log_probs = self.head(torch.tanh(start + before)).log_softmax(-1)
            caption.append(int(torch.multinomial(log_probs.exp(), 1, generator=generator)))
            total, before = total + log_probs[caption[-1]], self.embed.weight[caption[-1]]
        return caption, total

    def _start(self, prefix: Prefix) -> Tensor:
        """(B, E)."""
        start: Tensor = prefix.vectors.mean(1)
        if prefix.text is None:
            return start
        text: Tensor = self.embed(prefix.text.ids.clamp(max=len(_WORDS) - 1)) * prefix.text.mask[..., None]
        return start + text.sum(1)
