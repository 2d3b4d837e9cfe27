"""Turns images as users have them in Python (paths, arrays, files, ...) into sources."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...errors import RequestError, UnreadableSource
from ...protocols import FileSource, MemorySource, Sample, Source
from ...protocols.images import upright_rgb


@runtime_checkable
class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes:
        """The bytes from the position of the file to its end."""


ImageInput: TypeAlias = (
    str | os.PathLike[str] | bytes | BinaryFile | Image.Image | NDArray[np.generic] | Tensor | Source | Sample
)
"""One image, as `Captioner` takes it."""

ACCEPTED = (
    "An image is a path, a Pillow image, a NumPy array (H, W, 3), a torch tensor (3, H, W), the bytes of an image file, a "
    'file opened with open(path, "rb"), or a Source or Sample of capfw.\nSeveral images are a list or an iterator of these.'
)
_IN_MEMORY = "an image in memory"
_URL = re.compile(r"([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)
_SINGLE = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image, np.ndarray, Tensor, Sample, Source, BinaryFile)


@dataclass(frozen=True)
class OpenedImage:
    """An image in memory as a source. A transform of images takes its pixels as they are."""

    image: Image.Image = field(repr=False)
    name: str = _IN_MEMORY

    def read(self) -> bytes:
        """The upright RGB image as PNG; the bytes depend on the pixels alone. Raises `UnreadableImage`."""
        written = io.BytesIO()
        upright_rgb(self.image, name=self.name).save(written, format="PNG", compress_level=0)
        return written.getvalue()

    def identity(self) -> None:
        """None: the image is in memory."""
        return


def several(images: ImageInput | Iterable[ImageInput]) -> tuple[Iterable[ImageInput], bool]:
    """The images, and whether it is a single one that was given by itself.

    Raises `RequestError` for what is neither an image nor a collection of images in an order.
    """
    if isinstance(images, _SINGLE):
        return [cast("ImageInput", images)], True
    if isinstance(images, Mapping | set | frozenset):
        what = f"the images are in {_kind(images)}, which hides them or their order."
        raise RequestError(what, where="images", fix=f"Give a list.\n{ACCEPTED}")
    if not isinstance(images, Iterable):
        raise RequestError(f"{_kind(images)} is no image.", where="images", fix=ACCEPTED)
    return cast("Iterable[ImageInput]", images), False


def as_source(given: object, place: str = "images") -> Source:
    """The source of one image. `place` names it in errors, such as "images[3]".

    Raises `RequestError` for what is no image, and `UnreadableSource` where its bytes cannot be read.
    """
    name = _IN_MEMORY if place == "images" else f"{_IN_MEMORY} ({place})"
    match given:
        case Sample():
            return given.source
        case Source():
            return given
        case str() | os.PathLike():
            return _file(os.fspath(given), place)
        case bytes() | bytearray() | memoryview():
            return MemorySource(bytes(given), name)
        case Image.Image():
            return OpenedImage(given, name)
        case np.ndarray():
            return OpenedImage(_of_array(given, place), name)
        case Tensor():
            return OpenedImage(_of_tensor(given, place), name)
        case BinaryFile():
            return _of_file(given, name, place)
    raise RequestError(f"{_kind(given)} is no image.", where=place, fix=ACCEPTED)


def _kind(given: object) -> str:
    """The type of a value in words."""
    return "None" if given is None else f"an object of type {type(given).__name__}"


def _file(path: str | bytes, place: str) -> Source:
    text = os.fsdecode(path)
    if _URL.match(text):
        raise RequestError(
            f"{text[:60]}{'...' * (len(text) > 60)} is a URL, and images are read from this machine.",
            where=place,
            fix="Download it first and give its bytes or its file, or use `capfw caption --allow-urls`.",
        )
    found = Path(text).expanduser()
    if found.is_dir():
        raise RequestError(
            f"{found} is a folder.", where=place, fix=f'Give its files: sorted(Path("{found}").glob("*.jpg")).'
        )
    return FileSource(found)


def _of_file(file: BinaryFile, name: str, place: str) -> Source:
    own = getattr(file, "name", None)
    name = own if isinstance(own, str) and own else name
    try:
        data: object = file.read()
    except (OSError, ValueError) as err:  # ValueError: the file is closed
        raise UnreadableSource(f"cannot be read: {err}", where=name) from err
    if not isinstance(data, bytes):
        what = f"read() of this {type(file).__name__} returned {_kind(data)}, not bytes."
        raise RequestError(what, where=place, fix='Open the file with open(path, "rb").')
    if not data:
        what = "the file has no bytes after its position."
        raise UnreadableSource(what, where=name, fix="Go back to its start first: file.seek(0).")
    return MemorySource(data, name)


def _of_array(array: NDArray[np.generic], place: str) -> Image.Image:
    """A Pillow image of an array (H, W) or (H, W, C), C one of 1, 3 and 4: uint8, or floats in [0, 1]."""
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)) or 0 in shape:
        fix = "A NumPy image has shape (H, W, 3); grey (H, W) and RGBA (H, W, 4) are taken as well."
        if array.ndim == 4:
            fix = f"This is a batch: give list(array).\n{fix}"
        elif array.ndim == 3 and shape[0] in (1, 3, 4):
            fix = f"Its channels are first: give array.transpose(1, 2, 0).\n{fix}"
        raise RequestError(f"a NumPy array of shape {shape} is no image.", where=place, fix=fix)
    pixels = array
    if np.issubdtype(array.dtype, np.floating):
        pixels = _from_fractions(array.astype(np.float32), place)
    elif array.dtype != np.uint8:
        raise _wrong_values(f"a NumPy array of {array.dtype}", 'array.astype("uint8")', place)
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if array.ndim == 3 and shape[2] == 1 else pixels))


def _of_tensor(tensor: Tensor, place: str) -> Image.Image:
    """A Pillow image of a tensor (H, W) or (C, H, W), C one of 1, 3 and 4: uint8, or floats in [0, 1]."""
    shape = tuple(tensor.shape)
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and shape[0] not in (1, 3, 4)) or 0 in shape:
        fix = "A torch image has shape (3, H, W); grey (H, W) and RGBA (4, H, W) are taken as well."
        if tensor.ndim == 4:
            fix = f"This is a batch: give list(tensor).\n{fix}"
        elif tensor.ndim == 3 and shape[2] in (1, 3, 4):
            fix = f"Its channels are last: give tensor.permute(2, 0, 1).\n{fix}"
        raise RequestError(f"a torch tensor of shape {shape} is no image.", where=place, fix=fix)
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise _wrong_values(f"a torch tensor of {str(tensor.dtype).removeprefix('torch.')}", "tensor.byte()", place)
    held = tensor.detach().cpu()
    pixels = (held.float() if held.is_floating_point() else held).numpy()
    return _of_array(pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0), place)  # (C, H, W) -> (H, W, C)


def _from_fractions(values: NDArray[np.float32], place: str) -> NDArray[np.uint8]:
    """Floats in [0, 1] as uint8: k / 255 becomes k again."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise RequestError(
            f"the floats of an image lie in [0, 1], and these lie between {low:.4g} and {high:.4g}.",
            where=place,
            fix="Divide 0..255 by 255. Give pixels from before a normalization; the encoder normalizes them itself.",
        )
    return np.round(values * 255).astype(np.uint8)


def _wrong_values(what: str, conversion: str, place: str) -> RequestError:
    return RequestError(
        f"{what} is no image.",
        where=place,
        fix=f"Pixels are uint8 (0 to 255), or floats in [0, 1]: {conversion} for values from 0 to 255, else divide by the "
        "largest possible value.",
    )
