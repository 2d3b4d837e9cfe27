"""Which captions make up each optimizer step, and how they are padded.

The plan of an epoch depends on the seed and the epoch alone, so a continued run meets the same steps. Captions of
like length stand together: they are shuffled, sorted by length within pools of many steps, and the steps shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..protocols import Decoder, Sample, TokenBatch

_POOL_STEPS = 50


class Captions:
    """Every training caption, tokenised once. Caption i belongs to the image at `image_places[i]` of the split."""

    def __init__(self, samples: Sequence[Sample], decoder: Decoder, max_tokens: int) -> None:
        places = [place for place, sample in enumerate(samples) for _ in sample.references]
        tokenized = decoder.tokenize([reference for sample in samples for reference in sample.references])
        self.num_truncated = sum(len(ids) > max_tokens for ids in tokenized)
        # A caption that is cut loses its EOS: the decoder must not learn to stop in the middle of a sentence.
        kept = [ids[:max_tokens] for ids in tokenized]
        self.image_places = np.asarray(places, dtype=np.int64)
        self.lengths = np.asarray([len(ids) for ids in kept], dtype=np.int64)
        self._ends = np.cumsum(self.lengths)
        self._flat = np.fromiter(
            (token for ids in kept for token in ids), dtype=np.int32, count=int(self.lengths.sum())
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def tokens(self, captions: NDArray[np.int64], device: torch.device) -> TokenBatch:
        """Ids and mask (B, T) of the captions numbered `captions`, T the longest of them."""
        lengths = self.lengths[captions]
        mask = np.arange(int(lengths.max())) < lengths[:, None]  # (B, T)
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = np.concatenate([self._flat[self._ends[i] - self.lengths[i] : self._ends[i]] for i in captions])
        return TokenBatch(
            torch.from_numpy(ids).to(device, non_blocking=True), torch.from_numpy(mask).to(device, non_blocking=True)
        )

    def plan_epoch(self, seed: int, epoch: int, batch_size: int) -> list[NDArray[np.int64]]:
        """The steps of one epoch: arrays of caption numbers, every caption once."""
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(self))
        pool = batch_size * _POOL_STEPS
        steps = []
        for start in range(0, len(order), pool):
            chunk = order[start : start + pool]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            steps += [chunk[s : s + batch_size] for s in range(0, len(chunk), batch_size)]
        return [steps[i] for i in generator.permutation(len(steps))]


def micro_batches(
    step: NDArray[np.int64], micro_batch_size: int | None, rank: int, world: int
) -> list[NDArray[np.int64]]:
    """This process's part of a step, cut into micro-batches; every process gets the same number of them.

    A process may get an empty micro-batch where a step has fewer captions than there are processes.
    """
    share = -(-len(step) // world)
    size = min(micro_batch_size or share, share)
    mine = step[rank * share : (rank + 1) * share]
    return [mine[start : start + size] for start in range(0, share, size)]
