"""The pixels that a CLIP model reads, made of an image as the weights want it."""

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
    """The transform of a source for a tower of this input size, and a text that changes whenever its pixels may.

    `chosen`: mean, std or resize_mode in place of what the source states; None leaves that. A folder of transformers
    gives the pixels of its own image processor, other sources those of open_clip, which resizes with PIL.

    Raises `ComponentError` when an image processor makes pixels of another size than the tower reads.
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
    """The image, of which no side may shrink to nothing when the longer one becomes `side` pixels: open_clip fails then."""
    least = -(-max(image.size) // side)
    return image if min(image.size) >= least else image.resize((max(image.width, least), max(image.height, least)))


def _changed(processor: Any, size: tuple[int, int], chosen: Mapping[str, object]) -> BaseImageProcessor:
    """The processor with the options that the user chose in place of its own."""
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
