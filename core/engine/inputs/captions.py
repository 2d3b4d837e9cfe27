"""Divides captions into optimizer steps, and pads them.

The plan of an epoch depends only on the seed and the epoch, so a continued run has the same steps. A step holds captions
of similar length: captions are shuffled and sorted by length within pools of many steps, and the steps are shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ...protocols import Decoder, Sample, TokenBatch

Numbers: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = Literal["captions", "images"]
_POOL_STEPS = 50


class TokenRows:
    """Token ids of many texts of different lengths, in one flat array."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.lengths: Numbers = np.asarray([len(ids) for ids in rows], dtype=np.int64)
        self._ends = np.cumsum(self.lengths)
        self._flat = np.fromiter(
            (token for ids in rows for token in ids), dtype=np.int32, count=int(self.lengths.sum())
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, numbers: Numbers, device: torch.device) -> TokenBatch:
        """Ids and mask (B, T) of the rows with these numbers; T is the length of the longest."""
        lengths = self.lengths[numbers]
        mask = np.arange(int(lengths.max(initial=0))) < lengths[:, None]  # (B, T)
        ids = np.zeros(mask.shape, dtype=np.int64)
        if mask.any():
            ids[mask] = np.concatenate([self._flat[self._ends[i] - self.lengths[i] : self._ends[i]] for i in numbers])
        return TokenBatch(
            torch.from_numpy(ids).to(device, non_blocking=True), torch.from_numpy(mask).to(device, non_blocking=True)
        )


class Captions:
    """Every caption of a split, tokenized once. Caption i belongs to image `image_places[i]` of the split."""

    def __init__(self, samples: Sequence[Sample], decoder: Decoder, max_tokens: int) -> None:
        places = [place for place, sample in enumerate(samples) for _ in sample.references]
        tokenized = decoder.tokenize([reference for sample in samples for reference in sample.references])
        self.num_truncated = sum(len(ids) > max_tokens for ids in tokenized)
        # A truncated caption has no EOS: the decoder must not learn to stop in the middle of a sentence.
        self._rows = TokenRows([ids[:max_tokens] for ids in tokenized])
        self.image_places: Numbers = np.asarray(places, dtype=np.int64)
        self.lengths = self._rows.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def tokens(self, captions: Numbers, device: torch.device) -> TokenBatch:
        """Ids and mask (B, T) of the captions with these numbers; T is the length of the longest."""
        return self._rows.batch(captions, device)

    def num_rows(self, rows: Rows) -> int:
        """The number of rows in an epoch: one per caption, or one per image that has captions."""
        return len(self) if rows == "captions" else len(np.unique(self.image_places))

    def plan_epoch(self, seed: int, epoch: int, batch_size: int, rows: Rows = "captions") -> list[Numbers]:
        """The steps of one epoch as arrays of caption numbers: every caption once, or one caption per image."""
        generator = np.random.default_rng([seed, epoch])
        if rows == "images":
            return self._plan_images(generator, batch_size)
        order = generator.permutation(len(self))
        pool = batch_size * _POOL_STEPS
        steps = []
        for start in range(0, len(order), pool):
            chunk = order[start : start + pool]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            steps += [chunk[s : s + batch_size] for s in range(0, len(chunk), batch_size)]
        return [steps[i] for i in generator.permutation(len(steps))]

    def _plan_images(self, generator: np.random.Generator, batch_size: int) -> list[Numbers]:
        shuffled = generator.permutation(len(self))
        _, first = np.unique(self.image_places[shuffled], return_index=True)  # one caption of each image, at random
        order = shuffled[np.sort(first)]
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def micro_batches(step: Numbers, micro_batch_size: int | None, rank: int, world: int) -> list[Numbers]:
    """This process's part of a step, divided into micro-batches. Every process gets the same number of them.

    Some micro-batches may be empty, for example when a step has fewer captions than there are processes.
    """
    share = -(-len(step) // world)
    size = min(micro_batch_size or share, share)
    mine = step[rank * share : (rank + 1) * share]
    return [mine[start : start + size] for start in range(0, share, size)]
