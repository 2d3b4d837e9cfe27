"""Imports another project's embeddings into the feature store (`capfw import features`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import IncompatibleComponents, RunError, UnreadableSource
from ...protocols import Encoder, ForeignFeatures, Sample
from ...registry import Registry, code_version
from ...spec import RunSpec
from ..build import build_dataset, build_encoder
from ..devices import parse_device
from ..inputs.extraction import digest_sources
from ..inputs.features import FeatureStore
from ..inputs.reading import InputReader, encode
from ..inputs.splits import samples_of
from .checkpoints import recognise

_NUM_CHECKED = 8
_LEAST_COSINE = 0.995  # another resize or half precision stays above it; other weights, crops or pixel scalings do not
_MOST_NORM_RATIO = 1.02


@dataclass(frozen=True)
class ImportedFeatures:
    """The result of `import_features`: the store and, by split, the numbers of images.

    num_present: images that had features before. num_imported: images that got features now. num_unused: rows of the file
    that belong to no image. num_checked: images that were encoded for comparison.
    """

    store: Path
    num_images: Mapping[str, int]
    num_present: Mapping[str, int]
    num_imported: Mapping[str, int]
    num_unused: int
    num_checked: int


def import_features(
    file: Path,
    spec: RunSpec,
    *,
    format_name: str | None = None,
    registry: Registry | None = None,
    device: str | torch.device | None = None,
) -> ImportedFeatures:
    """Copies the embeddings in `file` into the feature store of `spec`, for its encoder and the images of its data set.

    `capfw run` later encodes the images without a row. This function encodes a few images and compares them with their
    rows, so that embeddings of other weights, preprocessing or normalisation never pass as this encoder's.

    Raises `RunError` when they differ, when none can be compared, and when no image has a row or two images have the
    same one. Raises `BadCheckpoint` when the file cannot be read.
    """
    where = parse_device(device)
    found, _, _ = recognise(registry or Registry.discover(), format_name, file, lambda each: each.features(file))
    splits = samples_of(build_dataset(spec))
    encoder = build_encoder(spec)
    _check_shape(found, encoder, spec)
    if isinstance(encoder, torch.nn.Module):
        encoder.to(where)
    store = FeatureStore.open(
        spec.features, spec.encoder, encoder, encoder.fingerprint(), code_version(spec.encoder.component)
    )
    places = _Places(found, [sample for samples in splits.values() for sample in samples])
    num_images, num_present, num_imported = {}, {}, {}
    wanted: dict[str, tuple[Sample, int]] = {}
    for split, samples in splits.items():
        digests = digest_sources(store, samples)
        readable = [
            (s, d)
            for s, d in zip(samples, digests, strict=True)
            if not isinstance(d, UnreadableSource) and d not in store.unreadable
        ]
        new = {d: (s, place) for s, d in readable if d not in store.rows and (place := places.of(s)) is not None}
        num_images[split], num_imported[split] = len(samples), len(new)
        num_present[split] = sum(d in store.rows for _, d in readable)
        wanted |= new
    if not wanted and not any(num_present.values()):
        raise RunError(
            f"none of the {len(found.embeddings)} rows belongs to an image of the data set; they are for "
            f"{', '.join([*found.file_names[:3], *found.image_ids[:3]])}, ...",
            where=str(file),
            fix="Use a data set with these file names or image ids.",
        )
    _check_rows(found, wanted, file)
    checked = _compare(encoder, found, list(wanted.values()), where, file)
    _write(store, found, wanted, spec.features.batch_size)
    return ImportedFeatures(store.folder, num_images, num_present, num_imported, places.num_unused, checked)


class _Places:
    """Finds the row of an image. If an image has two rows, the later one counts, as in the projects that write such files.

    Rows are found by file name if any image has its name in the file, and otherwise by image id. They are never found by
    both, because an equal id may then belong to another image.
    """

    def __init__(self, found: ForeignFeatures, samples: Sequence[Sample]) -> None:
        by_name = {Path(name).name: place for place, name in enumerate(found.file_names)}
        by_id = {image_id: place for place, image_id in enumerate(found.image_ids)}
        self._is_by_name = any(_file_name(sample) in by_name for sample in samples)
        self._places = by_name if self._is_by_name else by_id
        self.num_unused = len(found.embeddings) - len({self.of(sample) for sample in samples} - {None})

    def of(self, sample: Sample) -> int | None:
        """The row of `sample`, or None."""
        return self._places.get(_file_name(sample) if self._is_by_name else str(sample.image_id))


def _file_name(sample: Sample) -> str:
    return Path(sample.file_name or sample.source.name).name


def _check_shape(found: ForeignFeatures, encoder: Encoder, spec: RunSpec) -> None:
    shape = encoder.feature_shape
    if (shape.num_tokens, shape.dim) != (1, found.embeddings.shape[-1]):
        error = IncompatibleComponents(
            f"the file holds one embedding of width {found.embeddings.shape[-1]} per image, but encoder "
            f'"{spec.encoder.name}" emits (B, {shape.num_tokens}, {shape.dim}).',
            fix="Name the encoder that made them, with pooled features.",
        )
        error.where = "/encoder"
        raise error


def _check_rows(found: ForeignFeatures, wanted: Mapping[str, tuple[Sample, int]], file: Path) -> None:
    """Raises `RunError` for a row that belongs to two different images, and for a row with NaN or infinity."""
    owners: dict[int, Sample] = {}
    for sample, place in wanted.values():
        name = str(sample.file_name or sample.image_id)
        if not bool(found.embeddings[place].isfinite().all()):
            what, fix = f"the embedding of image {name} holds NaN or infinity.", "Leave its row out of the file."
        elif place in owners:
            what = f"images {owners[place].image_id} and {sample.image_id} differ but have the same row: {name}."
            fix = "Give the images unique file names: a row is found by file name without folder, or by image id."
        else:
            owners[place] = sample
            continue
        raise RunError(what, where=str(file), fix=fix)


def _compare(
    encoder: Encoder, found: ForeignFeatures, wanted: Sequence[tuple[Sample, int]], device: torch.device, file: Path
) -> int:
    """Encodes a few images, evenly spread, and compares them with their rows. Returns their number.

    Raises `RunError` when they differ, and when no image can be decoded.
    """
    num_checked, num_wanted = 0, len(wanted)
    spread = range(0, num_wanted, max(1, -(-num_wanted // _NUM_CHECKED)))
    # The other images follow, as replacements for images that cannot be decoded.
    order = [wanted[number] for number in dict.fromkeys([*spread, *range(num_wanted)])]
    for sample, place in order:
        if num_checked == _NUM_CHECKED:
            break
        [[item]] = InputReader(encoder, device).read([[sample.source]])
        if isinstance(item, UnreadableSource):
            continue
        ours = encode(encoder, item[None].to(device))[0, 0].cpu()  # (D,)
        if difference := _difference(ours, found.embeddings[place].float()):
            what, fix = difference
            name = str(sample.file_name or sample.image_id)
            raise RunError(
                f"these are not the embeddings of this encoder: that of image {name} differs ({what}).",
                where=str(file),
                fix=fix,
            )
        num_checked += 1
    if wanted and not num_checked:
        raise RunError(
            "no image can be decoded, so no embedding could be compared with the encoder's own.",
            where=str(file),
            fix="Correct the paths or the images of the data set.",
        )
    return num_checked


def _difference(ours: Tensor, theirs: Tensor) -> tuple[str, str] | None:
    """The difference of two embeddings (D,) and its fix; None when both are of one image and encoder."""
    cosine = float(F.cosine_similarity(ours, theirs, dim=0))
    if cosine < _LEAST_COSINE:
        return f"cosine {cosine:.3f}", "Name the encoder, weights and preprocessing that made them."
    ratio = float(theirs.norm() / ours.norm().clamp_min(1e-12))
    if not 1 / _MOST_NORM_RATIO < ratio < _MOST_NORM_RATIO:
        fix = "Set /encoder/normalize to the other value: they differ only in length."
        return f"it is {ratio:.3g} times as long", fix
    return None


def _write(
    store: FeatureStore, found: ForeignFeatures, wanted: Mapping[str, tuple[Sample, int]], batch_size: int
) -> None:
    for digests in _chunks(list(wanted), store.rows_per_shard(batch_size)):
        rows: Tensor = found.embeddings[[wanted[digest][1] for digest in digests]]  # (rows, D)
        store.write(digests, rows[:, None].float(), {})  # (rows, 1, D)
    store.refresh()


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
