"""Extraction: every image of a split that is not in the feature store is encoded into it, shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import CapfwError, PluginError, UnreadableImage
from ..protocols import Encoder, ImageId, ImageSource, Sample, open_image
from ..settings import FeatureSettings
from . import images
from .atomic import write_json
from .features import FeatureStore, SplitFeatures


def _stat_key(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def digest_images(store: FeatureStore, samples: Sequence[Sample]) -> list[str | UnreadableImage]:
    """SHA-256 of every image's bytes; files unchanged since the last time are not read."""
    remembered_file = store.folder / "files.json"
    remembered = json.loads(remembered_file.read_text()) if remembered_file.is_file() else {}
    known = dict(remembered)

    def digest(sample: Sample) -> str | UnreadableImage:
        try:
            if isinstance(sample.image, bytes):
                return hashlib.sha256(sample.image).hexdigest()
            name = str(sample.image)
            try:
                key = _stat_key(sample.image)
            except OSError as err:
                raise UnreadableImage(f"cannot read the image: {err.strerror}", where=name) from err
            entry = known.get(name)
            if entry is None or entry[:-1] != key:
                entry = known[name] = [*key, hashlib.sha256(images.read_bytes(sample.image)).hexdigest()]
            return str(entry[-1])
        except UnreadableImage as err:
            return err

    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(digest, samples))
    if known != remembered:
        write_json(remembered_file, known, indent=None)
    return digests


class _Pixels(Dataset[Tensor | str]):
    """Decodes and preprocesses one image; a string is the reason why it cannot be."""

    def __init__(self, sources: Sequence[tuple[ImageSource, str]], encoder: Encoder) -> None:
        self.sources, self.preprocess = sources, encoder.preprocess

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, place: int) -> Tensor | str:
        source, name = self.sources[place]
        try:
            return self.preprocess(open_image(images.read_bytes(source), name=name))
        except UnreadableImage as err:
            return err.what


def _keep_list(items: list[Tensor | str]) -> list[Tensor | str]:
    return items


def _encode(encoder: Encoder, pixels: Sequence[Tensor], device: torch.device) -> Tensor:
    with torch.inference_mode():
        features = encoder.encode(torch.stack(list(pixels)).to(device, non_blocking=True)).float().cpu()  # (B, N, D)
    declared = (len(pixels), encoder.feature_shape.num_tokens, encoder.feature_shape.dim)
    if tuple(features.shape) != declared:
        raise PluginError(
            f"{type(encoder).__name__} gave features {tuple(features.shape)} for {len(pixels)} images; "
            f"its feature_shape says {declared}.",
            where="/encoder",
            fix="The encoder is at fault, not the spec: `capfw plugins check NAME` tells its author more.",
        )
    return features


def _write_shards(
    store: FeatureStore,
    encoder: Encoder,
    pending: Sequence[tuple[str, Sample]],
    settings: FeatureSettings,
    device: torch.device,
    share: tuple[int, int],
) -> Iterator[int]:
    """Encodes this process's share of the pending images shard by shard; yields how many were done each time."""
    rows, (rank, world) = store.rows_per_shard(settings.batch_size), share
    shards = [pending[start : start + rows] for start in range(0, len(pending), rows)][rank::world]
    flat = [(sample.image, _name(sample)) for shard in shards for _, sample in shard]
    loader = DataLoader(
        _Pixels(flat, encoder),
        # Batches never straddle shards: a shard is the last one of its list or a whole number of batches.
        batch_sampler=_shard_batches([len(shard) for shard in shards], settings.batch_size),
        num_workers=min(settings.num_workers, len(flat)),
        collate_fn=_keep_list,
        pin_memory=False,
    )
    batches = iter(loader)
    for shard in shards:
        digests: list[str] = []
        features: list[Tensor] = []
        unreadable: dict[str, str] = {}
        for start in range(0, len(shard), settings.batch_size):
            group = shard[start : start + settings.batch_size]
            items = next(batches)
            for (digest, sample), item in zip(group, items, strict=True):
                if isinstance(item, str):
                    if settings.on_bad_image == "fail":
                        raise _refuse(sample, item)
                    unreadable[digest] = item
            readable = [(d, item) for (d, _), item in zip(group, items, strict=True) if isinstance(item, Tensor)]
            if readable:
                digests += [digest for digest, _ in readable]
                features.append(_encode(encoder, [pixels for _, pixels in readable], device))
            yield len(group)
        empty = torch.empty((0, store.shape.num_tokens, store.shape.dim))
        store.write(digests, torch.cat(features) if features else empty, unreadable)


def _shard_batches(shard_lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    batches, first = [], 0
    for length in shard_lengths:
        batches += [
            list(range(s, min(s + batch_size, first + length))) for s in range(first, first + length, batch_size)
        ]
        first += length
    return batches


def _name(sample: Sample) -> str:
    return str(sample.image) if isinstance(sample.image, Path) else f"image {sample.image_id}"


def _refuse(sample: Sample, reason: str) -> CapfwError:
    return UnreadableImage(
        f"image {sample.image_id}: {reason}",
        where=_name(sample),
        fix='Mend or remove the image, or set /features/on_bad_image to "skip".',
    )


@dataclass(frozen=True)
class Extraction:
    """What `extract` did for one split."""

    features: SplitFeatures
    unreadable: Mapping[ImageId, str]
    num_encoded: int


def extract(
    store: FeatureStore,
    encoder: Encoder,
    samples: Sequence[Sample],
    settings: FeatureSettings,
    device: torch.device,
    *,
    progress: Callable[[int, int], None],
    share: tuple[int, int] = (0, 1),
    barrier: Callable[[], None] = lambda: None,
) -> Extraction:
    """Encodes the images of `samples` that are not in the store, and returns the features of all that can be read.

    `progress(done, total)` counts images to encode. `share` is (rank, number of processes); `barrier` waits for all.
    Raises `UnreadableImage` at the first bad image when `settings.on_bad_image` is "fail".
    """
    found = digest_images(store, samples)
    unreadable: dict[ImageId, str] = {}
    pending: dict[str, Sample] = {}
    for sample, digest in zip(samples, found, strict=True):
        if isinstance(digest, UnreadableImage):
            unreadable[sample.image_id] = digest.what
        elif digest not in store.rows and digest not in store.unreadable:
            pending.setdefault(digest, sample)
    if unreadable and settings.on_bad_image == "fail":
        bad = next(sample for sample in samples if sample.image_id in unreadable)
        raise _refuse(bad, unreadable[bad.image_id])
    done = 0
    for count in _write_shards(store, encoder, list(pending.items()), settings, device, share) if pending else ():
        done += count
        progress(done, -(-len(pending) // share[1]))
    barrier()
    if pending:
        store.refresh()
    kept, digests = [], []
    for sample, digest in zip(samples, found, strict=True):
        if isinstance(digest, UnreadableImage):
            continue
        if digest in store.unreadable:
            if settings.on_bad_image == "fail":
                raise _refuse(sample, store.unreadable[digest])
            unreadable[sample.image_id] = store.unreadable[digest]
        else:
            kept.append(sample)
            digests.append(digest)
    return Extraction(SplitFeatures(store, kept, digests, device), unreadable, len(pending))
