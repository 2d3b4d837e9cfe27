"""Reads sources and turns them into an encoder's inputs, in worker processes if asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...errors import PluginError, UnreadableSource
from ...protocols import Encoder, ImageTransform, Source, TransformsBatches
from .given import OpenedImage


class InputReader:
    """Turns sources into inputs of one encoder, with its `transform_batch` if it has one, else with its `transform`.

    The worker processes receive the transform and the sources, never the encoder.
    """

    def __init__(self, encoder: Encoder, device: torch.device, *, num_workers: int = 0) -> None:
        self._transform = None if isinstance(encoder, TransformsBatches) else encoder.transform
        self._transform_batch = encoder.transform_batch if isinstance(encoder, TransformsBatches) else None
        self._device, self._num_workers = device, num_workers

    def read(self, groups: Sequence[Sequence[Source]]) -> Iterator[list[Tensor | UnreadableSource]]:
        """The inputs of each group of sources on the device, with an error in place of an unreadable one."""
        flat = [source for group in groups for source in group]
        loader = DataLoader(
            _Sources(flat, self._transform),
            batch_sampler=_consecutive([len(group) for group in groups]),
            num_workers=min(self._num_workers, len(flat)),
            collate_fn=_keep_list,
        )
        for group, items in zip(groups, loader, strict=True):
            # Workers return the reason as a string: exceptions with more arguments do not pickle.
            yield [
                UnreadableSource(item, where=source.name) if isinstance(item, str) else item
                for source, item in zip(group, self._on_device(items), strict=True)
            ]

    def _on_device(self, items: list[Tensor | bytes | str]) -> list[Tensor | str]:
        if self._transform_batch is not None:
            return self._decoded_together([item for item in items if not isinstance(item, Tensor)])
        return [item.to(self._device, non_blocking=True) if isinstance(item, Tensor) else str(item) for item in items]

    def _decoded_together(self, items: list[bytes | str]) -> list[Tensor | str]:
        assert self._transform_batch is not None
        data = [item for item in items if isinstance(item, bytes)]
        try:
            made: Sequence[Tensor | str] = list(self._transform_batch(data, self._device)) if data else []
        except UnreadableSource as err:
            made = [err.what] if len(data) == 1 else [self._decoded_together([each])[0] for each in data]
        if len(made) != len(data):
            what = f"transform_batch gave {len(made)} inputs for {len(data)} sources."
            raise PluginError(what, where="/encoder", fix="The encoder is at fault, not the spec.")
        inputs = iter(made)
        return [next(inputs) if isinstance(item, bytes) else item for item in items]


class _Sources(Dataset[Tensor | bytes | str]):
    """Sources as inputs, or as bytes without a transform. A string is the reason why a source is unreadable."""

    def __init__(self, sources: Sequence[Source], transform: Callable[[bytes], Tensor] | None) -> None:
        self._sources, self._transform = sources, transform

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, place: int) -> Tensor | bytes | str:
        source = self._sources[place]
        try:
            if isinstance(source, OpenedImage) and isinstance(self._transform, ImageTransform):
                return self._transform(source.image)
            data = source.read()
            return data if self._transform is None else self._transform(data)
        except UnreadableSource as err:
            return err.what


def _keep_list(items: list[Tensor | bytes | str]) -> list[Tensor | bytes | str]:
    return items


def _consecutive(lengths: Sequence[int]) -> list[list[int]]:
    groups, first = [], 0
    for length in lengths:
        groups.append(list(range(first, first + length)))
        first += length
    return groups


def encode(encoder: Encoder, inputs: Tensor) -> Tensor:
    """Features (B, N, D) float32 of inputs on the encoder's device.

    Raises `PluginError` when their shape is not the declared `feature_shape`.
    """
    with torch.inference_mode():
        features = encoder.encode(inputs).float()
    declared = (len(inputs), encoder.feature_shape.num_tokens, encoder.feature_shape.dim)
    if tuple(features.shape) != declared:
        raise PluginError(
            f"{type(encoder).__name__} returned features {tuple(features.shape)} for {len(inputs)} images; "
            f"its feature_shape declares {declared}.",
            where="/encoder",
            fix="Correct the encoder, not the spec: `capfw plugins check NAME` reports more.",
        )
    return features
