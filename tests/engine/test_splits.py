"""A run refuses a wrong split of a data set before it computes anything on it."""

from __future__ import annotations

import pytest

from capfw.core.engine.inputs.splits import check_splits
from capfw.core.errors import DataError
from capfw.core.protocols import MemorySource, Sample


def sample(image_id: int, *references: str) -> Sample:
    return Sample(image_id, MemorySource(b""), references)


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"val": [sample(1, "a dog")]}, "no training images"),
        ({"train": [sample(1), sample(2)]}, "no image of split train has a caption"),
        ({"train": [sample(1, "a dog")], "val": [sample(2)]}, "no image of split val has a caption"),
        (
            {"train": [sample(1, "a dog")], "test": [sample(1, "a cat")]},
            r"1 image ids occur more than once .*: 1 \(train and test",
        ),
        ({"train": [sample(1, "a dog"), sample(1, "a cat")]}, r"1 \(train and train"),
    ],
)
def test_unusable_splits_are_refused(splits: dict[str, list[Sample]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        check_splits(splits)


def test_some_images_may_be_without_captions() -> None:
    check_splits({"train": [sample(1, "a dog"), sample(2)], "val": [sample(3, "a cat")]})
