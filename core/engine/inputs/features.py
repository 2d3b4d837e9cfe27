"""The feature store: every image is encoded once, and a changed encoder or image never gets old features.

A store is a folder of shards for one encoder (config, weights, transform, code) and dtype. A shard is a safetensors
file. Its metadata holds the SHA-256 of each image in it, and the images that could not be decoded. A shard is whole or
absent, so a killed extraction loses at most one shard. `files.json` holds the hash of each file (by path, inode, size and
times), so that unchanged files are not read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import RunError
from ...protocols import Encoder, FeatureShape, ImageId, Sample, TransformsBatches
from ...spec import Part
from ...spec.settings import FeatureSettings
from ..atomic import write_json, write_tensors

_SHARD_BYTES = 32 << 20
_SHARD_ROWS = 1024
_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Row:
    """The location of one image's features."""

    shard: Path
    index: int


class FeatureStore:
    """The features of one encoder on disk. `shape` is (N, D); `dtype` is the stored dtype."""

    def __init__(self, folder: Path, shape: FeatureShape, dtype: torch.dtype) -> None:
        self.folder, self.shape, self.dtype = folder, shape, dtype
        self.rows: dict[str, Row] = {}
        self.unreadable: dict[str, str] = {}
        self.refresh()

    @classmethod
    def open(
        cls,
        settings: FeatureSettings,
        part: Part,
        encoder: Encoder,
        fingerprint: str,
        code: str,
        *,
        is_created: bool = True,
    ) -> FeatureStore:
        """Opens or creates the store of `encoder`, with this fingerprint and this version of its code.

        With `is_created=False` nothing is written: a store that does not exist is empty.
        """
        assert settings.store is not None
        shape = encoder.feature_shape
        facts = {
            "capfw": 2,
            "encoder": part.to_json(),
            "fingerprint": fingerprint,
            "code": code,
            "transform": "transform_batch" if isinstance(encoder, TransformsBatches) else "transform",
            "feature_shape": [shape.num_tokens, shape.dim],
            "dtype": settings.dtype,
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        folder = settings.store / f"{part.name}-{key}"
        if is_created and not (folder / "manifest.json").is_file():
            write_json(folder / "manifest.json", facts)
        return cls(folder, shape, _DTYPES[settings.dtype])

    def refresh(self) -> None:
        """Reads the headers of the shards. Raises `RunError`, naming the shard, for a damaged one; none is skipped."""
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
        """The rows of a shard: a whole number of batches, so that a continued extraction forms the same batches."""
        row_bytes = self.shape.num_tokens * self.shape.dim * self.dtype.itemsize
        rows = min(_SHARD_ROWS, max(1, _SHARD_BYTES // row_bytes))
        return max(1, rows // batch_size) * batch_size

    def write(self, digests: Sequence[str], features: Tensor, unreadable: Mapping[str, str]) -> None:
        """Adds a shard: features (rows, N, D), one row per digest.

        Its name is a hash of all its images in order. So two runs that fill one store at once replace a shard only by an
        equal one.
        """
        name = hashlib.sha256(" ".join([*digests, "", *unreadable]).encode()).hexdigest()[:16]
        stored = features.to(self.dtype)
        if not torch.isfinite(stored).all():
            raise RunError(
                f"the encoder's features do not fit {str(self.dtype).removeprefix('torch.')}: some are not finite.",
                where="/features/dtype",
                fix='Set /features/dtype to "float32"; if that does not help, the encoder returns NaN.',
            )
        metadata = {"digests": json.dumps(list(digests)), "unreadable": json.dumps(dict(unreadable))}
        write_tensors(self.folder / f"shard-{name}.safetensors", {"features": stored}, metadata)


class StoredFeatures:
    """Features of one split, image by image in the order of `samples`; those that could not be read are left out.

    They lie in memory (on `device` where that is a GPU with room) or stay memory-mapped on disk.
    """

    def __init__(
        self,
        store: FeatureStore,
        samples: Sequence[Sample],
        digests: Sequence[str],
        device: torch.device,
        unreadable: Mapping[ImageId, str] | None = None,
    ) -> None:
        self.samples, self.device, self.shape = list(samples), device, store.shape
        self.unreadable: Mapping[ImageId, str] = unreadable or {}
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

    @property
    def is_in_memory(self) -> bool:
        """Whether all features are in memory; otherwise they are memory-mapped from disk."""
        return self._in_memory is not None

    def _load(self, store: FeatureStore) -> Tensor:
        features = torch.empty((len(self._rows), store.shape.num_tokens, store.shape.dim), dtype=store.dtype)
        wanted: dict[Path, list[int]] = {}
        for place, row in enumerate(self._rows):
            wanted.setdefault(row.shard, []).append(place)
        for shard, places in wanted.items():
            with safe_open(shard, framework="pt") as opened:
                features[places] = opened.get_tensor("features")[[self._rows[place].index for place in places]]
        return features

    def gather(self, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """The features (B, N, D) float32 of each group of places, on the device."""
        return (self._rows_at(places) for places in groups)

    def _rows_at(self, places: Sequence[int]) -> Tensor:
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
        groups = [range(start, min(start + batch_size, len(self))) for start in range(0, len(self), batch_size)]
        for features in self.gather(groups):
            chunk = features.double().flatten(0, 1)  # (B * N, D)
            total, squares, count = total + chunk.sum(0), squares + chunk.square().sum(0), count + len(chunk)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        deviation[deviation < 1e-6] = 1.0
        return mean.float(), deviation.float()
