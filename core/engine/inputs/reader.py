"""Makes every batch: inputs, tokens and text, row by row, of the captions or images of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import RunError, UnreadableSource
from ...protocols import Batch, ImageId, Sample, TokenBatch
from ..seeds import seed_of
from .captions import Captions, Numbers, TokenRows
from .reading import InputReader


class Inputs(Protocol):
    """The model's inputs of one split: stored features, or live inputs of a tuned encoder."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The images, in the order of their places."""

    @property
    def unreadable(self) -> Mapping[ImageId, str]:
        """The reason why each other image of the split is left out, by id."""

    @property
    def device(self) -> torch.device:
        """The device of the inputs that `gather` returns."""

    def gather(self, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """The inputs (B, ...) float32 of each group of places, on the device."""


class LiveInputs:
    """Inputs that are read and transformed each time, for a tuned encoder."""

    def __init__(
        self,
        samples: Sequence[Sample],
        reader: InputReader,
        device: torch.device,
        unreadable: Mapping[ImageId, str] | None = None,
    ) -> None:
        self.samples, self.device, self._reader = samples, device, reader
        self.unreadable: Mapping[ImageId, str] = unreadable or {}

    def gather(self, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Yields the inputs of each group. Raises `RunError` for an image that was readable before, and no longer is."""
        sources = [[self.samples[place].source for place in group] for group in groups]
        for items in self._reader.read(sources):
            for item in items:
                if isinstance(item, UnreadableSource):
                    raise RunError(item.what, where=item.where, fix="Restore the file and run again.") from item
            yield torch.stack([item for item in items if isinstance(item, Tensor)])


class Reader:
    """Batches of one split. Every row has its own seed, which depends on `seed`, a purpose and the image's id."""

    def __init__(self, inputs: Inputs, captions: Captions | None, texts: TokenRows | None, *, seed: int) -> None:
        self.inputs, self._captions, self._texts, self._seed = inputs, captions, texts, seed

    @property
    def captions(self) -> Captions:
        """The captions of the split."""
        assert self._captions is not None, "this reader has no captions"
        return self._captions

    def of_captions(self, groups: Sequence[Numbers], purpose: Sequence[object]) -> Iterator[Batch]:
        """A batch for each group of caption numbers; `purpose` (the step's number) is part of the seeds of a group."""
        places = [self.captions.image_places[group].tolist() for group in groups]
        for group, chosen, inputs, why in zip(groups, places, self.inputs.gather(places), purpose, strict=True):
            yield self._batch(chosen, inputs, self.captions.tokens(group, self.inputs.device), why)

    def of_images(self, groups: Sequence[Sequence[int]], purpose: object) -> Iterator[Batch]:
        """A batch for each group of places, without captions."""
        for group, inputs in zip(groups, self.inputs.gather(groups), strict=True):
            yield self._batch(group, inputs, no_tokens(len(group), self.inputs.device), purpose)

    def _batch(self, places: Sequence[int], inputs: Tensor, tokens: TokenBatch, purpose: object) -> Batch:
        device = self.inputs.device
        samples = [self.inputs.samples[place] for place in places]
        text = None if self._texts is None else self._texts.batch(np.asarray(places, dtype=np.int64), device)
        return Batch(samples, inputs, tokens, text, self._seeds([sample.image_id for sample in samples], purpose))

    def _seeds(self, image_ids: Sequence[ImageId], purpose: object) -> Tensor:
        return torch.tensor([seed_of(self._seed, purpose, image_id) for image_id in image_ids], dtype=torch.int64)


def no_tokens(num_rows: int, device: torch.device) -> TokenBatch:
    """Tokens (B, 0) for images without captions."""
    return TokenBatch(
        torch.zeros((num_rows, 0), dtype=torch.int64, device=device),
        torch.zeros((num_rows, 0), dtype=torch.bool, device=device),
    )
