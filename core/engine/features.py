"""The feature store: every image is encoded once, and a changed encoder or image is never served from it.

A store is a folder of shards for one encoder (config, weights, preprocessing) and dtype. A shard is a safetensors file
that names, in its own metadata, the SHA-256 of each image it holds and the images that could not be decoded; a shard
is whole or absent, so a killed extraction loses at most the shard it was filling. `files.json` only remembers which
file had which hash (by path, inode, size and times), so that unchanged files are not read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import CapfwError, RunError, UnreadableImage
from ..protocols import Encoder, FeatureShape, ImageId, ImageSource, Sample
from ..settings import FeatureSettings
from ..spec import Part
from . import images
from .atomic import write_json, write_tensors

_SHARD_BYTES = 32 << 20
_SHARD_ROWS = 1024
_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Row:
    """Where one image's features stand."""

    shard: Path
    index: int


class FeatureStore:
    """The features of one encoder on disk. `shape` is (N, D); `dtype` is what is stored."""

    def __init__(self, folder: Path, shape: FeatureShape, dtype: torch.dtype) -> None:
        self.folder, self.shape, self.dtype = folder, shape, dtype
        self.rows: dict[str, Row] = {}
        self.unreadable: dict[str, str] = {}
        self.refresh()

    @classmethod
    def open(cls, settings: FeatureSettings, part: Part, encoder: Encoder) -> FeatureStore:
        """Opens, or begins, the store of `encoder` below `settings.store`."""
        assert settings.store is not None
        shape = encoder.feature_shape
        facts = {
            "capfw": 1,
            "encoder": part.to_json(),
            "fingerprint": encoder.fingerprint(),
            "feature_shape": [shape.num_tokens, shape.dim],
            "dtype": settings.dtype,
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        folder = settings.store / f"{part.name}-{key}"
        if not (folder / "manifest.json").is_file():
            write_json(folder / "manifest.json", facts)
        return cls(folder, shape, _DTYPES[settings.dtype])

    def refresh(self) -> None:
        """Reads the shards' headers. A damaged shard is an error that names it: it is never skipped over."""
        self.rows.clear()
        self.unreadable.clear()
        for shard in sorted(self.folder.glob("shard-*.safetensors")):
            try:
                with safe_open(shard, framework="pt") as opened:
                    metadata = opened.metadata()
            except (SafetensorError, OSError) as err:
                raise RunError(
                    f"the feature shard is damaged: {err}", where=str(shard), fix="Delete it and run again."
                ) from err
            self.rows.update((d, Row(shard, i)) for i, d in enumerate(json.loads(metadata["digests"])))
            self.unreadable.update(json.loads(metadata["unreadable"]))

    def rows_per_shard(self, batch_size: int) -> int:
        """A whole number of batches, so that a continued extraction forms the batches an undisturbed one forms."""
        row_bytes = self.shape.num_tokens * self.shape.dim * self.dtype.itemsize
        rows = min(_SHARD_ROWS, max(1, _SHARD_BYTES // row_bytes))
        return max(1, rows // batch_size) * batch_size

    def write(self, digests: Sequence[str], features: Tensor, unreadable: Mapping[str, str]) -> None:
        """Adds a shard: features (rows, N, D), one row a digest.

        It is named after all its images in their order, so that of two runs at work in one store neither replaces a shard
        of the other but by its equal.
        """
        name = hashlib.sha256(" ".join([*digests, "", *unreadable]).encode()).hexdigest()[:16]
        stored = features.to(self.dtype)
        if not torch.isfinite(stored).all():
            raise RunError(
                f"the encoder's features do not fit {str(self.dtype).removeprefix('torch.')}: some are not finite.",
                where="/features/dtype",
                fix='Set /features/dtype to "float32"; if that does not help, the encoder yields NaN.',
            )
        metadata = {"digests": json.dumps(list(digests)), "unreadable": json.dumps(dict(unreadable))}
        write_tensors(self.folder / f"shard-{name}.safetensors", {"features": stored}, metadata)


class SplitFeatures:
    """Features of one split, image by image in the order of `samples`; those that could not be read are left out.

    They lie in memory (on `device` where that is a GPU with room) or stay memory-mapped on disk.
    """

    def __init__(
        self, store: FeatureStore, samples: Sequence[Sample], digests: Sequence[str], device: torch.device
    ) -> None:
        self.samples, self.device, self.shape = list(samples), device, store.shape
        self._rows = [store.rows[digest] for digest in digests]
        self._opened: dict[Path, Any] = {}
        num_bytes = len(self._rows) * store.shape.num_tokens * store.shape.dim * store.dtype.itemsize
        self._in_memory: Tensor | None = None
        if num_bytes <= psutil.virtual_memory().available // 2:
            self._in_memory = self._load(store)
            if device.type == "cuda" and num_bytes <= torch.cuda.mem_get_info(device)[0] // 2:
                self._in_memory = self._in_memory.to(device)

    def __len__(self) -> int:
        return len(self.samples)

    def _load(self, store: FeatureStore) -> Tensor:
        features = torch.empty((len(self._rows), store.shape.num_tokens, store.shape.dim), dtype=store.dtype)
        wanted: dict[Path, list[int]] = {}
        for place, row in enumerate(self._rows):
            wanted.setdefault(row.shard, []).append(place)
        for shard, places in wanted.items():
            with safe_open(shard, framework="pt") as opened:
                features[places] = opened.get_tensor("features")[[self._rows[place].index for place in places]]
        return features

    def gather(self, places: Sequence[int]) -> Tensor:
        """Features (B, N, D) float32 on the device, of the images at `places`."""
        if self._in_memory is not None:
            index = torch.as_tensor(places, dtype=torch.int64, device=self._in_memory.device)
            return self._in_memory.index_select(0, index).to(self.device, torch.float32, non_blocking=True)
        rows = [
            self._mapped(self._rows[place].shard).get_slice("features")[self._rows[place].index] for place in places
        ]
        return torch.stack(rows).to(self.device, torch.float32)

    def _mapped(self, shard: Path) -> Any:
        if shard not in self._opened:
            self._opened[shard] = safe_open(shard, framework="pt")
        return self._opened[shard]

    def mean_and_deviation(self, batch_size: int = 1024) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) over images and tokens, float32; a constant dimension has deviation 1."""
        total = torch.zeros(self.shape.dim, dtype=torch.float64, device=self.device)
        squares, count = torch.zeros_like(total), 0
        for start in range(0, len(self), batch_size):
            chunk = self.gather(range(start, min(start + batch_size, len(self)))).double().flatten(0, 1)  # (B * N, D)
            total, squares, count = total + chunk.sum(0), squares + chunk.square().sum(0), count + len(chunk)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        deviation[deviation < 1e-6] = 1.0
        return mean.float(), deviation.float()


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
            return self.preprocess(images.decode(images.read_bytes(source), name=name))
        except UnreadableImage as err:
            return err.what


def _keep_list(items: list[Tensor | str]) -> list[Tensor | str]:
    return items


def _encode(encoder: Encoder, pixels: Sequence[Tensor], device: torch.device) -> Tensor:
    with torch.inference_mode():
        return encoder.encode(torch.stack(list(pixels)).to(device, non_blocking=True)).float().cpu()  # (B, N, D)


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
