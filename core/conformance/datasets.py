"""Checks of data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from ..engine import images
from ..errors import UnreadableImage
from ..protocols import Dataset, Sample, open_image
from .checks import check, require
from .subjects import Subject

_SPLITS = ("train", "val", "test")


def _samples(subject: Subject) -> Iterator[tuple[str, Sample]]:
    """Every sample with its split, of the splits that capfw knows."""
    dataset = subject.dataset
    return ((split, sample) for split in _SPLITS if split in dataset.splits for sample in dataset.samples(split))


@check(
    "has-known-splits",
    "dataset",
    advice='Let `splits` name those of "train", "val" and "test" that there are, each once and with images.',
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
    require(not repeated, f"{len(repeated)} ids stand more than once, the first is {repeated[:1]}.")


@check(
    "samples-in-one-order",
    "dataset",
    advice="Sort what comes from a set, a folder listing or a thread pool, and draw nothing at random without a seed.",
)
def samples_in_one_order(subject: Subject) -> None:
    """The samples are the same in the same order, asked again and built again."""
    first = list(_samples(subject))
    require(list(_samples(subject)) == first, "asked again, `samples` gives others, or in another order.")
    again = cast("Dataset", subject.build(seed=1))
    rebuilt = [
        (split, sample) for split in dict.fromkeys(split for split, _ in first) for sample in again.samples(split)
    ]
    require(rebuilt == first, "built again, `samples` gives others, or in another order.")


@check(
    "references-are-captions",
    "dataset",
    advice="Give every image a tuple of one or more captions that are not empty; leave images without captions out.",
)
def references_are_captions(subject: Subject) -> None:
    """Every image has references: a tuple of strings, none of them empty."""
    for split, sample in _samples(subject):
        references, where = sample.references, f"image {sample.image_id} of {split}"
        require(isinstance(references, tuple) and len(references) > 0, f"{where} has references {references!r}.")
        require(all(isinstance(t, str) and t.strip() for t in references), f"{where} has references {references!r}.")


@check(
    "images-decode",
    "dataset",
    advice="Let `image` be the Path of a file, or the bytes of one (PNG, JPEG, ...), never pixels.",
)
def images_decode(subject: Subject) -> None:
    """Every image is a file, or the bytes of one, that can be decoded."""
    for split, sample in _samples(subject):
        where = f"image {sample.image_id} of {split}"
        try:
            open_image(images.read_bytes(sample.image), name=where)
        except (UnreadableImage, AttributeError) as err:  # the second: neither a path nor bytes
            require(False, f"{where} cannot be read: {err}")
