"""The light half of encoder "timm" at work: timm's evaluation transform, and the part of a photo that it keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm.data

from ....core.protocols import Box, ImageTransform, image_transform


@dataclass(frozen=True)
class KeptBox:
    """The part of a photo that remains when it is resized as `mode` says and the centre is cropped or padded.

    `mode` is timm's crop mode: "center" fits the shorter side to `resized`, "border" the longer, "squash" both.
    `resized` and `crop` are (height, width) in pixels.
    """

    mode: str
    resized: tuple[int, int]
    crop: tuple[int, int]

    def __call__(self, width: int, height: int) -> Box:
        """The box, of a photo of this size."""
        down, across = height / self.resized[0], width / self.resized[1]  # pixels of the photo per resized pixel
        if self.mode != "squash":
            down = across = max(down, across) if self.mode == "border" else min(down, across)
        kept_height, kept_width = self.crop[0] * down, self.crop[1] * across
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height


def evaluation_transform(data_config: Mapping[str, Any]) -> ImageTransform:
    """The evaluation transform of a data config of timm, which resizes with PIL."""
    _, height, width = data_config["input_size"]
    fraction = data_config["crop_pct"]
    resized = (math.floor(height / fraction), math.floor(width / fraction))  # as timm computes them
    keeps = KeptBox(data_config["crop_mode"], resized, (height, width))
    return image_transform(timm.data.create_transform(**data_config, is_training=False), keeps=keeps)
