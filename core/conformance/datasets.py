"""Checks of data sets."""

from __future__ import annotations

import io
import mimetypes
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from PIL import Image

from ..errors import UnreadableImage, UnreadableSource
from ..protocols import Dataset, Sample, Source, open_image
from .checks import check, require
from .subjects import Subject

_SPLITS = ("train", "val", "test")


def _samples(subject: Subject) -> Iterator[tuple[str, Sample]]:
    """Every sample with its split, in the splits that capfw knows."""
    dataset = subject.dataset
    return ((split, sample) for split in _SPLITS if split in dataset.splits for sample in dataset.samples(split))


@check(
    "has-known-splits",
    "dataset",
    advice='Return from `splits` the names of the splits, out of "train", "val" and "test", each once and with images.',
)
def has_known_splits(subject: Subject) -> None:
    """`splits` are some of train, val and test, and none is empty."""
    splits = subject.dataset.splits
    is_right = isinstance(splits, tuple) and set(splits) <= set(_SPLITS) and len(set(splits)) == len(splits) > 0
    require(is_right, f"splits are {splits!r}.")
    for split in splits:
        samples = subject.dataset.samples(split)
        is_listed = isinstance(samples, Sequence) and all(isinstance(sample, Sample) for sample in samples)
        require(is_listed, f'samples("{split}") is a {type(samples).__name__}, not a sequence of Sample.')
        require(len(samples) > 0, f'samples("{split}") is empty.')


@check(
    "ids-are-unique",
    "dataset",
    advice="Give every image one id, a number or a string, and put all its captions into one Sample in one split.",
)
def ids_are_unique(subject: Subject) -> None:
    """No two images share an id, in one split or in two."""
    ids = [sample.image_id for _, sample in _samples(subject)]
    wrong = [i for i in ids if isinstance(i, bool) or not isinstance(i, int | str)]
    require(not wrong, f"{wrong[:1]} is no image id.")
    repeated = [i for i, count in Counter(ids).items() if count > 1]
    require(not repeated, f"{len(repeated)} ids occur more than once; the first is {repeated[:1]}.")


@check(
    "samples-in-one-order",
    "dataset",
    advice="Sort the items of a set, a folder listing or a thread pool, and draw no random number without a seed.",
)
def samples_in_one_order(subject: Subject) -> None:
    """`samples` returns the same samples in the same order, in another call and after another build."""
    first = list(_samples(subject))
    require(list(_samples(subject)) == first, "a second call of `samples` gives others, or in another order.")
    again = cast("Dataset", subject.build(seed=1))
    rebuilt = [
        (split, sample) for split in dict.fromkeys(split for split, _ in first) for sample in again.samples(split)
    ]
    require(rebuilt == first, "built again, `samples` gives others, or in another order.")


@check(
    "references-are-captions",
    "dataset",
    advice="Give every image a tuple of one or more nonempty captions, and leave images without captions out.",
)
def references_are_captions(subject: Subject) -> None:
    """Every image has references: a tuple of strings, none of them empty."""
    for split, sample in _samples(subject):
        references, where = sample.references, f"image {sample.image_id} of {split}"
        require(isinstance(references, tuple) and len(references) > 0, f"{where} has references {references!r}.")
        require(all(isinstance(t, str) and t.strip() for t in references), f"{where} has references {references!r}.")


@check(
    "sources-are-read",
    "dataset",
    advice="Make `source` a FileSource, a MemorySource, or your own object with `name`, `read` and `identity` that "
    "pickles: keep the path, not the open file.",
)
def sources_are_read(subject: Subject) -> None:
    """Every sample has a source that pickles, always gives the same bytes, and has a constant identity."""
    for split, sample in _samples(subject):
        source, where = sample.source, f"the source of {sample.image_id} of {split}"
        is_right = isinstance(source, Source) and isinstance(source.name, str)
        require(is_right, f"{where} is a {type(source).__name__} without name, read or identity.")
        try:
            data, identity = source.read(), source.identity()
            sent: Source = pickle.loads(pickle.dumps(source))
            again = sent.read()
        except UnreadableSource as err:
            require(False, f"{where} cannot be read: {err}")
        require(isinstance(data, bytes) and bool(data), f"{where} has no bytes.")
        require(again == data, f"{where} gives other bytes after pickling.")
        require(source.identity() == identity, f"{where} has another identity each time.")


@check(
    "images-decode",
    "dataset",
    advice="Return the encoded bytes of images (PNG, JPEG, ...) from sources, never pixels, and leave damaged files out.",
)
def images_decode(subject: Subject) -> None:
    """Every source that is an image, by its name or its first bytes, can be decoded."""
    for split, sample in _samples(subject):
        data = sample.source.read()
        if not _is_image(sample.source.name, data):
            continue
        try:
            open_image(data)
        except UnreadableImage as err:
            require(False, f"image {sample.image_id} of {split} cannot be decoded: {err.what}")


def _is_image(name: str, data: bytes) -> bool:
    if (mimetypes.guess_type(name)[0] or "").startswith("image/"):
        return True
    try:
        Image.open(io.BytesIO(data)).close()
    except Exception:  # Pillow may raise almost anything on bytes that are not an image
        return False
    return True
