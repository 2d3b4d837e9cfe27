"""Divides the images of a data set that names no splits."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from ..errors import DataError
from .configs import ComponentConfig
from .shapes import ImageId
from .splits import SPLITS


class Shares(ComponentConfig):
    """The division of images into splits. An image's split depends on its id and `seed`, not on the other images."""

    val: float = Field(0.1, ge=0, lt=1, description="Share of the images in the validation split; 0: no such split.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of the images in the test split; 0: no such split.")
    seed: int = Field(0, ge=0, description="Seed of the division; another seed gives other splits.")

    @model_validator(mode="after")
    def _leaves_training_images(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val and test add up to {self.val + self.test:g}: lower them, to leave training images")
        return self

    def divide(self, image_ids: Sequence[ImageId], *, where: str) -> dict[str, list[ImageId]]:
        """The ids of train, val and test, each in the order given. Each split with a share has at least one image.

        Each id has a place in 0..1, a SHA-256 of seed and id. The lowest places are the test split, the next val, the
        rest train. Raises `DataError`, naming `where`, when there are too few images.
        """
        places = {i: int(hashlib.sha256(f"{self.seed} {i}".encode()).hexdigest(), 16) / 2**256 for i in image_ids}
        ranked = sorted(image_ids, key=places.__getitem__)
        sorted_places = sorted(places.values())
        end_test = max(bisect_left(sorted_places, self.test), self.test > 0)
        end_val = max(bisect_left(sorted_places, self.test + self.val), end_test + (self.val > 0))
        end_val = min(end_val, len(ranked) - 1)  # few images may all have places below the shares: leave one to train
        end_test = min(end_test, end_val - (self.val > 0))
        if end_test < (self.test > 0):
            what = f"too few images to divide: {len(ranked)}."
            fix = "Set /data/shares/test to 0, and /data/shares/val too for a single image."
            raise DataError(what, where=where, fix=fix)
        split_of = {i: "test" if n < end_test else "val" if n < end_val else "train" for n, i in enumerate(ranked)}
        return {split: [i for i in image_ids if split_of[i] == split] for split in SPLITS}
