"""The transform of a CLIP model: an image to the pixels that the weights were trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import open_clip
from open_clip.transform import PreprocessCfg
from PIL import Image
from torch import Tensor

from ....core.protocols import (
    Box,
    CentreSquare,
    ComponentError,
    ImageTransform,
    image_transform,
    padded_square,
    whole_image,
)
from ..transformers import processor_transform
from .source import ClipSource

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

_KEEPS: Mapping[str, Callable[[int, int], Box]] = {
    "shortest": CentreSquare(),
    "squash": whole_image,
    "longest": padded_square,
}


def clip_transform(
    source: ClipSource, image_size: int | tuple[int, int], **chosen: object
) -> tuple[ImageTransform, str]:
    """Returns the transform for a tower of this input size, and a text that differs whenever the pixels may differ.

    `chosen` replaces the mean, std or resize_mode of the source; None keeps it. A folder saved by transformers uses its
    own image processor. Other sources use open_clip's transform, which resizes with PIL.

    Raises `ComponentError` when the pixels of an image processor do not have the size that the tower reads.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if source.processor is not None:
        processor = _changed(source.processor, (height, width), chosen)
        _check_size(processor, (height, width))
        return processor_transform(processor), repr(sorted(map(repr, processor.to_dict().items())))
    settings = PreprocessCfg(size=(height, width), **{**source.preprocessing, **chosen})
    is_square = height == width
    keeps = _KEEPS[settings.resize_mode] if is_square or settings.resize_mode == "squash" else None
    return image_transform(_OpenClipPixels(settings), keeps=keeps), repr(settings)


class _OpenClipPixels:
    """Pixels (3, H, W) float32 of one RGB image."""

    def __init__(self, settings: PreprocessCfg) -> None:
        self._longest_side = max(settings.input_size[1:]) if settings.resize_mode == "longest" else None
        self._convert = open_clip.transform.image_transform_v2(settings, is_train=False)

    def __call__(self, image: Image.Image) -> Tensor:
        if self._longest_side is not None:
            image = _thick_enough(image, self._longest_side)
        pixels: Tensor = self._convert(image)
        return pixels


def _thick_enough(image: Image.Image, side: int) -> Image.Image:
    """Thickens an image whose shorter side would shrink to 0 when the longer becomes `side` pixels: open_clip fails."""
    least = -(-max(image.size) // side)
    return image if min(image.size) >= least else image.resize((max(image.width, least), max(image.height, least)))


def _changed(processor: Any, size: tuple[int, int], chosen: Mapping[str, object]) -> BaseImageProcessor:
    """Returns the processor with the user's options in place of its own."""
    height, width = size
    changes = {ours: chosen[key] for key, ours in (("mean", "image_mean"), ("std", "image_std")) if key in chosen}
    if changes:
        changes["do_normalize"] = True
    mode = chosen.get("resize_mode")
    if mode == "longest":
        raise ComponentError(
            'the image processor of this folder cannot resize the longer side ("longest").',
            option="resize_mode",
            fix='Use "shortest" or "squash".',
        )
    if mode == "squash":
        changes |= {"size": {"height": height, "width": width}, "do_resize": True, "do_center_crop": False}
    elif mode == "shortest":
        crop = {"height": height, "width": width}
        changes |= {"size": {"shortest_edge": max(size)}, "crop_size": crop, "do_resize": True, "do_center_crop": True}
    changed: BaseImageProcessor = (
        type(processor).from_dict({**processor.to_dict(), **changes}) if changes else processor
    )
    return changed


def _check_size(processor: Any, size: tuple[int, int]) -> None:
    made = tuple(processor_transform(processor)(Image.new("RGB", (8, 8))).shape)
    if made != (3, *size):
        raise ComponentError(
            f"the image processor makes pixels {made}, but the tower reads {(3, *size)}.",
            option="weights",
            fix='Correct preprocessor_config.json, or set "resize_mode".',
        )
