"""Extraction: encodes every image of a split that is not in the feature store, shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from ...errors import CapfwError, DataError, UnreadableSource
from ...protocols import Encoder, ImageId, MemorySource, Sample, Source
from ...spec.settings import FeatureSettings
from ..atomic import write_json
from ..opening import Run
from .features import FeatureStore, StoredFeatures
from .reader import Inputs, LiveInputs
from .reading import InputReader, encode

_DIGESTS = "files.json"
_GROUP = 64  # images read at once where they are only checked


def extract(
    run: Run, encoder: Encoder, fingerprint: str | None, splits: Mapping[str, Sequence[Sample]]
) -> dict[str, Inputs]:
    """The model's inputs for each split: stored features, or live inputs where the encoder is tuned.

    `fingerprint` is that of the encoder, None where it is tuned.
    Images that cannot be read are left out and reported. Raises `DataError` for a split without a readable image, and
    `UnreadableSource` at the first bad image when `/features/on_bad_image` is "fail".
    """
    inputs = _look_at(run, encoder, splits) if fingerprint is None else _encode_all(run, encoder, fingerprint, splits)
    for split, each in inputs.items():
        for image_id, reason in each.unreadable.items():
            run.observers.warn(skip_notice(split, image_id, reason))
        if not each.samples:
            what = f"no image of split {split} can be read."
            raise DataError(what, where="/data", fix="The warnings above give the reasons.")
    return inputs


def skip_notice(split: str, image_id: ImageId, reason: str) -> str:
    """The warning about an image that cannot be read."""
    return f"{split}: image {image_id} is skipped: {reason}"


def describe_inputs(encoder: Encoder, fingerprint: str | None, inputs: Mapping[str, Inputs]) -> dict[str, object]:
    """The facts about the inputs for environment.json. A tuned encoder has no fingerprint: its weights are the run's."""
    shape = encoder.feature_shape
    return {
        "encoder_fingerprint": fingerprint,
        "shape": [shape.num_tokens, shape.dim],
        "num_unreadable": sum(len(each.unreadable) for each in inputs.values()),
        "unreadable": {split: dict(each.unreadable) for split, each in inputs.items() if each.unreadable},
    }


def _encode_all(
    run: Run, encoder: Encoder, fingerprint: str, splits: Mapping[str, Sequence[Sample]]
) -> dict[str, Inputs]:
    part = run.spec.encoder
    store = FeatureStore.open(run.spec.features, part, encoder, fingerprint, run.code[f"encoder {part.name}"])
    inputs: dict[str, Inputs] = {}
    for split, samples in splits.items():
        extraction = Extraction(run, store, encoder)
        inputs[split] = extraction.perform(samples, f"extract {split}")
        num_images = len(inputs[split].samples)
        run.observers.inform(f"{split}: features of {num_images} images, {extraction.num_encoded} of them new")
    return inputs


def _look_at(run: Run, encoder: Encoder, splits: Mapping[str, Sequence[Sample]]) -> dict[str, Inputs]:
    """Live inputs. Reads every image once: an unreadable image must show before hours of training."""
    reader = InputReader(encoder, run.device, num_workers=run.spec.features.num_workers)
    inputs: dict[str, Inputs] = {}
    for split, samples in splits.items():
        unreadable = _unreadable(run, reader, samples, f"read {split}")
        if unreadable and run.spec.features.on_bad_image == "fail":
            bad = next(sample for sample in samples if sample.image_id in unreadable)
            raise refusal(bad, unreadable[bad.image_id])
        readable = [sample for sample in samples if sample.image_id not in unreadable]
        inputs[split] = LiveInputs(readable, reader, run.device, unreadable)
    return inputs


def _unreadable(run: Run, reader: InputReader, samples: Sequence[Sample], stage: str) -> dict[ImageId, str]:
    groups = [samples[start : start + _GROUP] for start in range(0, len(samples), _GROUP)]
    unreadable: dict[ImageId, str] = {}
    progress, done = run.progress(stage, "images"), 0
    for group, items in zip(groups, reader.read([[s.source for s in group] for group in groups]), strict=True):
        pairs = zip(group, items, strict=True)
        unreadable |= {s.image_id: item.what for s, item in pairs if isinstance(item, UnreadableSource)}
        done += len(group)
        progress(done, len(samples))
    return unreadable


class Extraction:
    """Fills a store with the features of samples; the processes share the work."""

    def __init__(self, run: Run, store: FeatureStore, encoder: Encoder) -> None:
        self.run, self.store, self.encoder = run, store, encoder
        self.settings: FeatureSettings = run.spec.features
        self.num_encoded = 0

    def perform(self, samples: Sequence[Sample], stage: str) -> StoredFeatures:
        """The features of all readable samples, and a reason for each of the others."""
        found = digest_sources(self.store, samples)
        unreadable = {
            sample.image_id: digest.what
            for sample, digest in zip(samples, found, strict=True)
            if isinstance(digest, UnreadableSource)
        }
        if unreadable and self.settings.on_bad_image == "fail":
            bad = next(sample for sample in samples if sample.image_id in unreadable)
            raise refusal(bad, unreadable[bad.image_id])
        self._encode_missing(samples, found, stage)
        kept, digests = [], []
        for sample, digest in zip(samples, found, strict=True):
            if isinstance(digest, UnreadableSource):
                continue
            if digest in self.store.unreadable:
                if self.settings.on_bad_image == "fail":
                    raise refusal(sample, self.store.unreadable[digest])
                unreadable[sample.image_id] = self.store.unreadable[digest]
            else:
                kept.append(sample)
                digests.append(digest)
        return StoredFeatures(self.store, kept, digests, self.run.device, unreadable)

    def _encode_missing(self, samples: Sequence[Sample], found: Sequence[str | UnreadableSource], stage: str) -> None:
        pending: dict[str, Sample] = {}
        for sample, digest in zip(samples, found, strict=True):
            if isinstance(digest, str) and digest not in self.store.rows and digest not in self.store.unreadable:
                pending.setdefault(digest, sample)
        # Another process, or another run, may have added shards since: all must share out the same images.
        [digests] = broadcast_object_list([list(pending)])
        samples_of = {digest: sample for sample, digest in zip(samples, found, strict=True) if isinstance(digest, str)}
        pending = {digest: samples_of[digest] for digest in digests}
        rows, (rank, world) = self.store.rows_per_shard(self.settings.batch_size), self.run.share
        items = list(pending.items())
        shards = [items[start : start + rows] for start in range(0, len(items), rows)][rank::world]
        progress, done, total = self.run.progress(stage, "images"), 0, sum(map(len, shards))
        for count in self._write_shards(shards):
            done += count
            progress(done, total)
        self.num_encoded = len(pending)
        self.run.wait()
        if pending or world > 1:
            self.store.refresh()

    def _write_shards(self, shards: Sequence[Sequence[tuple[str, Sample]]]) -> Iterator[int]:
        """Encodes shard by shard; yields the number of images after each batch."""
        size = self.settings.batch_size
        # No group crosses a shard boundary: every shard but the last is a whole number of groups.
        groups = [[shard[start : start + size] for start in range(0, len(shard), size)] for shard in shards]
        reader = InputReader(self.encoder, self.run.device, num_workers=self.settings.num_workers)
        inputs = reader.read([[sample.source for _, sample in group] for shard in groups for group in shard])
        for shard_groups in groups:
            digests: list[str] = []
            features: list[Tensor] = []
            unreadable: dict[str, str] = {}
            for group in shard_groups:
                items = list(zip(group, next(inputs), strict=True))
                for (digest, sample), item in items:
                    if isinstance(item, UnreadableSource):
                        if self.settings.on_bad_image == "fail":
                            raise refusal(sample, item.what)
                        unreadable[digest] = item.what
                readable = [(digest, item) for (digest, _), item in items if isinstance(item, Tensor)]
                if readable:
                    digests += [digest for digest, _ in readable]
                    features.append(encode(self.encoder, torch.stack([item for _, item in readable])).cpu())
                yield len(group)
            empty = torch.empty((0, self.store.shape.num_tokens, self.store.shape.dim))
            self.store.write(digests, torch.cat(features) if features else empty, unreadable)


def digest_sources(store: FeatureStore, samples: Sequence[Sample]) -> list[str | UnreadableSource]:
    """SHA-256 of every source's bytes. A source with an unchanged identity is not read again."""
    remembered = _remembered(store)
    known = dict(remembered)

    def digest(sample: Sample) -> str | UnreadableSource:
        source = sample.source
        try:
            identity = source.identity()
            if identity is None:
                return hashlib.sha256(source.read()).hexdigest()
            entry = known.get(source.name)
            if entry is None or entry[:-1] != list(identity):
                entry = known[source.name] = [*identity, hashlib.sha256(source.read()).hexdigest()]
            return str(entry[-1])
        except UnreadableSource as err:
            return err

    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(digest, samples))
    if known != remembered:
        write_json(store.folder / _DIGESTS, known, indent=None)
    return digests


def are_stored(store: FeatureStore, samples: Sequence[Sample]) -> list[bool]:
    """Whether the store has the features of each sample. Only sources in memory are read: a changed file counts as new."""
    known = _remembered(store)

    def is_stored(source: Source) -> bool:
        if isinstance(source, MemorySource):
            digest = hashlib.sha256(source.read()).hexdigest()
        else:
            try:
                identity, entry = source.identity(), known.get(source.name)
            except UnreadableSource:
                return False
            if identity is None or entry is None or entry[:-1] != list(identity):
                return False
            digest = str(entry[-1])
        return digest in store.rows or digest in store.unreadable

    return [is_stored(sample.source) for sample in samples]


def _remembered(store: FeatureStore) -> dict[str, list[str | int]]:
    """Identity and SHA-256 of each file that was read before, by name."""
    file = store.folder / _DIGESTS
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def refusal(sample: Sample, reason: str) -> CapfwError:
    """The error for an unreadable image when `/features/on_bad_image` is "fail"."""
    return UnreadableSource(
        f"image {sample.image_id}: {reason}",
        where=sample.source.name,
        fix='Repair or remove the image, or set /features/on_bad_image to "skip".',
    )
