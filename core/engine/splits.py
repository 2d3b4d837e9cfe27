"""What the splits of a data set must be before anything is computed on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import DataError
from ..protocols import ImageId, Sample


def check_splits(splits: Mapping[str, Sequence[Sample]]) -> None:
    """Raises `DataError` for what cannot be trained on, or scored honestly.

    That is: no training images, a split without a caption, and an image id that stands twice, in one split or in two.
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
            f"{len(clashes)} image ids stand in the data more than once: {', '.join(clashes[:5])}"
            + (", ..." if len(clashes) > 5 else "."),
            where="/data",
            fix="Leave each image in one split: scores on images that were trained on mean nothing.",
        )
