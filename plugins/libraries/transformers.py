"""Loads with transformers, without its output and without running code from the files; wraps its image processors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from PIL.Image import Image
from torch import Tensor
from transformers import logging

from ...core.protocols import BadCheckpoint, Box, CentreSquare, ImageTransform, image_transform, whole_image

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

LoadedT = TypeVar("LoadedT")
# A model's `from_pretrained` asks for an adapter apart.
NO_ADAPTER_LOOK_UP = {"adapter_kwargs": {"local_files_only": True}}


def load_pretrained(load: Callable[..., LoadedT], source: str, *, option: str | None, **settings: object) -> LoadedT:
    """Returns `load(source, **settings)`, for a `from_pretrained` of transformers, without its output.

    `source` is a folder, or a repository whose files are in the cache. Nothing is looked up.

    Where the files name code of their own ("auto_map"), transformers asks on the terminal whether to run it. This
    function never runs it: it uses transformers' own class where there is one, and raises `BadCheckpoint` otherwise. All
    other exceptions of `load` pass through.
    """
    try:
        with quiet(), _without_conversion():
            return load(source, trust_remote_code=False, local_files_only=True, **settings)
    except ValueError as err:
        if "trust_remote_code" not in str(err):
            raise
        raise BadCheckpoint(
            f'{source} needs Python code that comes with its files ("auto_map"); capfw never runs such code.',
            option=option,
            fix='Name weights whose architecture ("model_type" in config.json) is part of transformers.',
        ) from err


@contextmanager
def quiet() -> Iterator[None]:
    """Hides transformers' progress bars and load reports; callers check the faults that a report would show."""
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()


@contextmanager
def _without_conversion() -> Iterator[None]:
    """Keeps transformers from asking the hub to convert weights that are not in safetensors."""
    name = "DISABLE_SAFETENSORS_CONVERSION"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def first_line(err: Exception) -> str:
    """Returns the first line of an exception's text that is not blank, or the name of its class."""
    return next((line for line in str(err).splitlines() if line.strip()), type(err).__name__)


def processor_transform(processor: BaseImageProcessor) -> ImageTransform:
    """Returns the transform that makes the pixels of an image processor of transformers."""
    return image_transform(_ProcessorPixels(processor), keeps=_kept_part(processor))


class _ProcessorPixels:
    """Pixels (3, H, W) float32 of one RGB image."""

    def __init__(self, processor: BaseImageProcessor) -> None:
        self._processor = processor

    def __call__(self, image: Image) -> Tensor:
        pixels: Tensor = self._processor(image, return_tensors="pt")["pixel_values"][0]
        return pixels


def _kept_part(processor: Any) -> Callable[[int, int], Box] | None:
    """Returns the box of the photo that a processor keeps; None where it resizes or crops with a method of its own."""
    steps = ("_preprocess", "resize", "center_crop")
    owners = {next((cls for cls in type(processor).__mro__ if step in vars(cls)), None) for step in steps}
    if len(owners) > 1 or not processor.do_resize:  # one of the steps is the processor's own
        return None
    size, crop = processor.size, getattr(processor, "crop_size", None)
    if not getattr(processor, "do_center_crop", None):
        return whole_image if size.height and size.width else None
    if size.shortest_edge and crop.height == crop.width <= size.shortest_edge:
        return CentreSquare(crop.width / size.shortest_edge)
    return whole_image if (size.height, size.width) == (crop.height, crop.width) else None
