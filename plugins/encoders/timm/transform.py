"""Timm's evaluation transform, and the box of a photo that it keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm.data

from ....core.protocols import Box, ImageTransform, image_transform


@dataclass(frozen=True)
class KeptBox:
    """The box of a photo that remains after a resize and a crop, or padding, of the centre.

    `mode` is timm's crop mode: "center" fits the shorter side to `resized`, "border" the longer side, "squash" both
    sides. `resized` and `crop` are (height, width) in pixels.
    """

    mode: str
    resized: tuple[int, int]
    crop: tuple[int, int]

    def __call__(self, width: int, height: int) -> Box:
        """Returns the box in a photo of this size, in its pixels."""
        down, across = height / self.resized[0], width / self.resized[1]  # pixels of the photo per resized pixel
        if self.mode != "squash":
            down = across = max(down, across) if self.mode == "border" else min(down, across)
        kept_height, kept_width = self.crop[0] * down, self.crop[1] * across
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height


def evaluation_transform(data_config: Mapping[str, Any]) -> ImageTransform:
    """Returns the evaluation transform of a timm data config; it resizes with PIL."""
    _, height, width = data_config["input_size"]
    fraction = data_config["crop_pct"]
    resized = (math.floor(height / fraction), math.floor(width / fraction))  # as timm computes them
    keeps = KeptBox(data_config["crop_mode"], resized, (height, width))
    return image_transform(timm.data.create_transform(**data_config, is_training=False), keeps=keeps)
