"""Reads the splits of a data set, and checks them before any computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import DataError
from ...protocols import SPLITS, Dataset, ImageId, Sample
from ..build import build_dataset, collected_warnings
from ..opening import Run


def read_splits(run: Run) -> dict[str, Sequence[Sample]]:
    """The samples of each split of the data set, in the order train, val, test. Its warnings become notices."""
    with collected_warnings(run.observers.warn):
        return samples_of(build_dataset(run.spec))


def samples_of(dataset: Dataset) -> dict[str, Sequence[Sample]]:
    """The samples of each split of the data set, in the order train, val, test."""
    return {split: dataset.samples(split) for split in SPLITS if split in dataset.splits}


def final_split(splits: Mapping[str, object]) -> str | None:
    """The split whose scores are the result of the run: test, or val where there is no test split."""
    return next((split for split in ("test", "val") if split in splits), None)


def check_splits(splits: Mapping[str, Sequence[Sample]]) -> None:
    """Raises `DataError` for data on which training or scores would be invalid.

    Such data has no training images, a split without captions, or an image id twice, in one split or in two.
    """
    if not splits.get("train"):
        raise DataError("the data set has no training images.", where="/data", fix="Give it a train split.")
    for split, samples in splits.items():
        if not any(sample.references for sample in samples):
            raise DataError(f"no image of split {split} has a caption.", where="/data", fix="Leave the split out.")
    seen: dict[ImageId, str] = {}
    clashes = []
    for split, samples in splits.items():
        for sample in samples:
            if sample.image_id in seen:
                clashes.append(f"{sample.image_id} ({seen[sample.image_id]} and {split})")
            seen[sample.image_id] = split
    if clashes:
        raise DataError(
            f"{len(clashes)} image ids occur more than once in the data: {', '.join(clashes[:5])}"
            + (", ..." if len(clashes) > 5 else "."),
            where="/data",
            fix="Keep each image in one split: scores on training images are not valid.",
        )
