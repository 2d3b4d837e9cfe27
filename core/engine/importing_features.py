"""Embeddings that another project made, as features in the store (`capfw import features`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import IncompatibleComponents, RunError, UnreadableImage
from ..protocols import Encoder, ForeignFeatures, Sample
from ..registry import Registry
from ..spec import RunSpec
from . import images
from .build import build_dataset, build_encoder, splits_of
from .extraction import digest_images
from .features import FeatureStore
from .importing import recognise

_NUM_CHECKED = 8
_LEAST_COSINE = (
    0.995  # another resize or half precision stay above it; other weights, crops or scalings of pixels do not
)
_MOST_NORM_RATIO = 1.02


@dataclass(frozen=True)
class ImportedFeatures:
    """What `import_features` did: by split, how many images there are, had features before, and got some now.

    num_unused: rows of the file that belong to no image. num_checked: images that were encoded for comparison.
    """

    store: Path
    num_images: Mapping[str, int]
    num_present: Mapping[str, int]
    num_imported: Mapping[str, int]
    num_unused: int
    num_checked: int


def import_features(
    file: Path, spec: RunSpec, *, format_name: str | None = None, registry: Registry | None = None
) -> ImportedFeatures:
    """Puts the embeddings in `file` into the feature store of `spec`, for its encoder and the images of its data set.

    Images without a row are left for `capfw run` to encode. A few images are encoded here and compared with their rows, so
    that embeddings of other weights, preprocessing or normalisation are never served as this encoder's.

    Raises `RunError` when they differ, none can be compared, no image has a row or two images have the same, and
    `BadCheckpoint` when the file cannot be read.
    """
    found, _, _ = recognise(registry or Registry.discover(), format_name, file, lambda each: each.features(file))
    dataset, _ = build_dataset(spec)
    encoder = build_encoder(spec)
    _check_shape(found, encoder, spec)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(encoder, torch.nn.Module):
        encoder.to(device)
    store = FeatureStore.open(spec.features, spec.encoder, encoder)
    places, num_images, num_present, num_imported = _Places(found), {}, {}, {}
    wanted: dict[str, tuple[Sample, int]] = {}
    for split, samples in splits_of(dataset).items():
        digests = digest_images(store, samples)
        readable = [
            (s, d)
            for s, d in zip(samples, digests, strict=True)
            if not isinstance(d, UnreadableImage) and d not in store.unreadable
        ]
        new = {d: (s, place) for s, d in readable if d not in store.rows and (place := places.of(s)) is not None}
        num_images[split], num_imported[split] = len(samples), len(new)
        num_present[split] = sum(d in store.rows for _, d in readable)
        wanted |= new
    if not wanted and not any(num_present.values()):
        raise RunError(
            f"none of the {len(found.embeddings)} rows belongs to an image of the data set.",
            where=str(file),
            fix=f"Its rows are for {', '.join([*found.file_names[:3], *found.image_ids[:3]])}, ...; the data set must have "
            "these file names or image ids.",
        )
    _check_rows(found, wanted, file)
    checked = _compare(encoder, found, list(wanted.values()), device, file)
    _write(store, found, wanted, spec.features.batch_size)
    return ImportedFeatures(store.folder, num_images, num_present, num_imported, places.num_unused, checked)


class _Places:
    """Where an image's row is: by its file name, else by its id; of two rows for one, the later (as both projects)."""

    def __init__(self, found: ForeignFeatures) -> None:
        self._by_name = {Path(name).name: place for place, name in enumerate(found.file_names)}
        self._by_id = {image_id: place for place, image_id in enumerate(found.image_ids)}
        self._unused = set(range(len(found.embeddings)))

    def of(self, sample: Sample) -> int | None:
        """The row of `sample`, or None."""
        name = Path(sample.file_name).name
        if not name and isinstance(sample.image, Path):
            name = sample.image.name
        place = self._by_name.get(name, self._by_id.get(str(sample.image_id)))
        if place is not None:
            self._unused.discard(place)
        return place

    @property
    def num_unused(self) -> int:
        """Rows no image has asked for."""
        return len(self._unused)


def _check_shape(found: ForeignFeatures, encoder: Encoder, spec: RunSpec) -> None:
    shape = encoder.feature_shape
    if (shape.num_tokens, shape.dim) != (1, found.embeddings.shape[-1]):
        error = IncompatibleComponents(
            f"the file holds one embedding of width {found.embeddings.shape[-1]} an image, but encoder "
            f'"{spec.encoder.name}" emits (B, {shape.num_tokens}, {shape.dim}).',
            fix="Name the encoder that made them, and its pooled features.",
        )
        error.where = "/encoder"
        raise error


def _check_rows(found: ForeignFeatures, wanted: Mapping[str, tuple[Sample, int]], file: Path) -> None:
    """Raises `RunError` for a row that two different images would get, and for one that holds NaN or infinity."""
    owners: dict[int, Sample] = {}
    for sample, place in wanted.values():
        name = str(sample.file_name or sample.image_id)
        if not bool(found.embeddings[place].isfinite().all()):
            what, fix = f"the embedding of image {name} holds NaN or infinity.", "Leave its row out of the file."
        elif place in owners:
            what = (
                f"images {owners[place].image_id} and {sample.image_id} are two that differ, and have one row: {name}."
            )
            fix = "Rows are found by file name without its folder, or by image id: give the images names of their own."
        else:
            owners[place] = sample
            continue
        raise RunError(what, where=str(file), fix=fix)


def _compare(
    encoder: Encoder, found: ForeignFeatures, wanted: Sequence[tuple[Sample, int]], device: torch.device, file: Path
) -> int:
    """Encodes a few images, spread over all, and compares. Returns how many.

    Raises `RunError` when they differ, and when none of the images can be decoded.
    """
    num_checked = 0
    step = max(1, len(wanted) // _NUM_CHECKED)
    # The others follow, for when none of those can be decoded.
    for number, (sample, place) in enumerate([*wanted[::step], *wanted]):
        if number >= len(wanted[::step]) and num_checked:
            break
        name = str(sample.file_name or sample.image_id)
        try:
            pixels = encoder.preprocess(images.decode(images.read_bytes(sample.image), name=name))
        except UnreadableImage:
            continue
        with torch.inference_mode():
            ours = encoder.encode(pixels[None].to(device))[0, 0].float().cpu()  # (D,)
        theirs = found.embeddings[place].float()
        cosine = float(F.cosine_similarity(ours, theirs, dim=0))
        ratio = float(theirs.norm() / ours.norm().clamp_min(1e-12))
        if cosine < _LEAST_COSINE:
            what, fix = f"cosine {cosine:.3f}", "Name the encoder, weights and preprocessing that made them."
        elif not 1 / _MOST_NORM_RATIO < ratio < _MOST_NORM_RATIO:
            what = f"theirs are {ratio:.3g} times as long"
            fix = "They differ in length only: set /encoder/normalize to the other value."
        else:
            num_checked += 1
            continue
        raise RunError(
            f"these are not the embeddings of this encoder: for image {name} they differ ({what}).",
            where=str(file),
            fix=fix,
        )
    if wanted and not num_checked:
        raise RunError(
            "none of its images can be decoded, so that no embedding could be compared with the encoder's own.",
            where=str(file),
            fix="Correct the paths or the images of the data set.",
        )
    return num_checked


def _write(
    store: FeatureStore, found: ForeignFeatures, wanted: Mapping[str, tuple[Sample, int]], batch_size: int
) -> None:
    for digests in _chunks(list(wanted), store.rows_per_shard(batch_size)):
        rows: Tensor = found.embeddings[[wanted[digest][1] for digest in digests]]  # (rows, D)
        store.write(digests, rows[:, None].float(), {})  # (rows, 1, D)
    store.refresh()


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
