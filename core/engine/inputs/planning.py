"""Counts the images of a spec, and estimates their extraction from a few images that it encodes. It writes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import torch
from torch import Tensor

from ...protocols import Encoder, Sample, Source
from ...registry import code_version
from ...spec import RunSpec
from ..build import build_dataset, build_encoder
from ..devices import parse_device
from .extraction import are_stored
from .features import FeatureStore
from .reading import InputReader, encode
from .splits import samples_of

_NUM_MEASURED = 32


@dataclass(frozen=True)
class ExtractionPlan:
    """The work that `capfw extract` would do.

    num_images: images by split. num_stored: those that have features already. by_type: images by suffix. num_measured:
    images that were encoded for the estimate, num_unreadable of which cannot be read. seconds and num_bytes: time, and disk
    in `store`, for the images without features. `store` is None for a tuned encoder: its features are not stored, and
    extraction only reads each image.
    """

    num_images: Mapping[str, int]
    num_stored: Mapping[str, int]
    by_type: Mapping[str, int]
    num_measured: int
    num_unreadable: int
    seconds: float
    num_bytes: int
    store: str | None
    device: str


def plan_extraction(spec: RunSpec, *, device: str | torch.device | None = None) -> ExtractionPlan:
    """Counts the images of each split, and measures the encoding of a few that have no features.

    Files are not read to count them: an image has features if its file is unchanged since they were stored. Raises
    `CapfwError` for a data set or an encoder that cannot be built.
    """
    where = parse_device(device)
    splits = samples_of(build_dataset(spec))
    encoder = build_encoder(spec)
    if isinstance(encoder, torch.nn.Module):
        encoder.to(where)
    store = None if spec.train.tune.encoder is not None else _store(spec, encoder)
    stored = {split: _are_stored(store, samples) for split, samples in splits.items()}
    new = [s for split, each in splits.items() for s, is_old in zip(each, stored[split], strict=True) if not is_old]
    measured, num_unreadable, seconds = _measure(spec, encoder, where, new, is_encoded=store is not None)
    factor = len(new) / measured if measured else 0.0
    row_bytes = 0 if store is None else store.shape.num_tokens * store.shape.dim * store.dtype.itemsize
    return ExtractionPlan(
        num_images={split: len(samples) for split, samples in splits.items()},
        num_stored={split: sum(each) for split, each in stored.items()},
        by_type=dict(Counter(_suffix(s) for samples in splits.values() for s in samples).most_common()),
        num_measured=measured,
        num_unreadable=num_unreadable,
        seconds=seconds * factor,
        num_bytes=len(new) * row_bytes,
        store=None if store is None else str(store.folder),
        device=str(where),
    )


def _store(spec: RunSpec, encoder: Encoder) -> FeatureStore:
    code = code_version(spec.encoder.component)
    return FeatureStore.open(spec.features, spec.encoder, encoder, encoder.fingerprint(), code, is_created=False)


def _are_stored(store: FeatureStore | None, samples: Sequence[Sample]) -> list[bool]:
    return [False] * len(samples) if store is None else are_stored(store, samples)


def _measure(
    spec: RunSpec, encoder: Encoder, device: torch.device, samples: Sequence[Sample], *, is_encoded: bool
) -> tuple[int, int, float]:
    """Reads and encodes a few samples, spread over all. Returns their number, the unreadable ones, and the seconds.

    Processes that decode images share the time of reading.
    """
    count = min(len(samples), _NUM_MEASURED)
    chosen = [samples[place * len(samples) // count].source for place in range(count)]
    size = spec.features.batch_size
    groups = [chosen[start : start + size] for start in range(0, count, size)]
    reader = InputReader(encoder, device)

    def seconds_of(group: Sequence[Source]) -> tuple[int, float, float]:
        began = time.perf_counter()
        [items] = reader.read([group])
        read = time.perf_counter()
        inputs = [item for item in items if isinstance(item, Tensor)]
        if inputs and is_encoded:
            encode(encoder, torch.stack(inputs)).cpu()
        return len(items) - len(inputs), read - began, time.perf_counter() - read

    for group in groups[:1]:
        seconds_of(group)  # the first call prepares the device and the libraries
    measured = [seconds_of(group) for group in groups]
    unreadable, reading, encoding = (sum(each) for each in zip(*measured, strict=True)) if measured else (0, 0.0, 0.0)
    return count, int(unreadable), reading / max(1, spec.features.num_workers) + encoding


def _suffix(sample: Sample) -> str:
    return PurePath(sample.source.name).suffix.lower() or "without suffix"
