"""The one place that makes batches: inputs, tokens and text, row by row, of a split's captions or images."""

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
    """What the trained model reads of one split: stored features, or live inputs of an encoder that is tuned."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The images, in the order of their places."""

    @property
    def unreadable(self) -> Mapping[ImageId, str]:
        """Why other images of the split are left out, by id."""

    @property
    def device(self) -> torch.device:
        """Where inputs are handed out."""

    def gather(self, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """For each group of places the inputs (B, ...) float32 on the device."""


class LiveInputs:
    """Inputs that are read and transformed each time anew, as a tuned encoder needs them."""

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
        """Raises `RunError` for an image that could be read when the run began, and no longer can."""
        sources = [[self.samples[place].source for place in group] for group in groups]
        for items in self._reader.read(sources):
            for item in items:
                if isinstance(item, UnreadableSource):
                    raise RunError(item.what, where=item.where, fix="Put the file back, and run again.") from item
            yield torch.stack([item for item in items if isinstance(item, Tensor)])


class Reader:
    """Batches of one split. Every row has a seed of its own, from `seed`, a purpose and the image's id."""

    def __init__(self, inputs: Inputs, captions: Captions | None, texts: TokenRows | None, *, seed: int) -> None:
        self.inputs, self._captions, self._texts, self._seed = inputs, captions, texts, seed

    @property
    def captions(self) -> Captions:
        """The captions of the split."""
        assert self._captions is not None, "this reader was made for captioning"
        return self._captions

    def of_captions(self, groups: Sequence[Numbers], purpose: Sequence[object]) -> Iterator[Batch]:
        """A batch for each group of caption numbers; `purpose` is what a group's seeds are for (the step's number)."""
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
    """Tokens (B, 0), of images without captions."""
    return TokenBatch(
        torch.zeros((num_rows, 0), dtype=torch.int64, device=device),
        torch.zeros((num_rows, 0), dtype=torch.bool, device=device),
    )
