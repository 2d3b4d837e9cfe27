"""Opens images from bytes, turns them into an encoder's input, and makes thumbnails. No torch; Pillow only on use."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..errors import UnreadableImage

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SUFFIXES = {
    ".apng": "PNG",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".gif": "GIF",
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".hif": "HEIC",
    ".ico": "ICO",
    ".j2k": "JPEG 2000",
    ".jfif": "JPEG",
    ".jp2": "JPEG 2000",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pbm": "PNM",
    ".pgm": "PNM",
    ".png": "PNG",
    ".pnm": "PNM",
    ".ppm": "PNM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
}
"""The suffixes of images, in lower case, and their formats."""

_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\x01\0": "ICO",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
HEAD = 64
"""The number of bytes that `format_of` needs."""

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the upright photo; outside its edges where an encoder pads."""


def format_of(head: bytes) -> str | None:
    """The format of an image that begins with these bytes, as in `SUFFIXES`; None where they are those of no such format."""
    for beginning, name in _BEGINNINGS.items():
        if head.startswith(beginning):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PNM"
    if head[4:8] != b"ftyp":
        return None
    brands = {head[start : start + 4] for start in (8, *range(16, min(len(head), int.from_bytes(head[:4])), 4))}
    return "AVIF" if brands & {b"avif", b"avis"} else "HEIC" if brands & _HEIC_BRANDS else None


def open_image(data: bytes, *, name: str = "the image") -> Image:
    """Decodes an image to RGB with 8 bits per channel, turned upright by its EXIF orientation.

    Converts grey, palette, CMYK, 16-bit and 32-bit images. Transparent pixels are laid on white. Raises
    `UnreadableImage`, naming `name`, when Pillow cannot decode all of the image, and for a HEIC image without pillow-heif.
    """
    from PIL import Image, UnidentifiedImageError

    if reason := missing_decoder(format_of(data[:HEAD])):
        raise UnreadableImage(reason, where=name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as err:  # its text holds the address of an object
        what = "the bytes are no image of a format that Pillow reads" if data else "there are no bytes"
        raise UnreadableImage(f"cannot decode the image: {what}", where=name) from err
    except Exception as err:
        raise UnreadableImage(f"cannot decode the image: {err}", where=name) from err
    return upright_rgb(opened, name=name)


def upright_rgb(opened: Image, *, name: str = "the image") -> Image:
    """Converts an image that Pillow has opened as `open_image` does. Raises `UnreadableImage` when it is damaged."""
    from PIL import Image, ImageOps

    try:
        opened.load()
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith(("I", "F")):
            image = _eight_bits(image)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return image.convert("RGB")
    # Pillow's decoders raise almost anything on damaged input: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as err:
        raise UnreadableImage(f"cannot decode the image: {err}", where=name) from err


def missing_decoder(format_name: str | None) -> str | None:
    """Why images of this format (see `format_of`) cannot be decoded here, with the install command; None where they can.

    Adds pillow-heif to Pillow when it is asked about HEIC for the first time.
    """
    from PIL import Image, features

    if format_name == "AVIF" and not features.check("avif"):
        return "this Pillow cannot read AVIF (pip install --upgrade pillow)"
    if format_name == "HEIC" and "HEIF" not in Image.OPEN:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            return 'HEIC needs pillow-heif (pip install "capfw[heif]")'
        register_heif_opener(thumbnails=False)
    return None


def _eight_bits(image: Image) -> Image:
    """Converts a grey image of 16 or 32 bits to 8 bits; Pillow's own conversion clips every value above 255 to white.

    White is 65535 for 16 bits; for 32-bit integers 255 or 65535, and for floats 1, 255 or 65535: the smallest that no
    value exceeds, or else the largest value.
    """
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        known = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        largest = float(values.max())
        white = next((limit for limit in known if largest <= limit), largest)
    return Image.fromarray(np.round(values.clip(0, white) * (255 / white)).astype(np.uint8))


@dataclass(frozen=True)
class CentreSquare:
    """The part of a photo that remains after a resize of the shorter side and a centre crop.

    `fraction`: side of the square, as a fraction of the shorter side.
    """

    fraction: float = 1.0

    def __call__(self, width: int, height: int) -> Box:
        """The square in a photo of this size."""
        side = min(width, height) * self.fraction
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side


def whole_image(width: int, height: int) -> Box:
    """All of a photo, for an encoder that resizes both sides."""
    return 0.0, 0.0, float(width), float(height)


def padded_square(width: int, height: int) -> Box:
    """The square around a photo, for an encoder that resizes the longer side and pads the shorter one."""
    side = max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


class ImageTransform:
    """An encoder's transform: encoded bytes (PNG, JPEG, ...), or an opened image, to one input (3, H, W) float32.

    It holds no weights and pickles small, because it travels to the processes that read images. Raises `UnreadableImage`.
    """

    def __init__(self, convert: Callable[[Image], Tensor], keeps: Callable[[int, int], Box] | None) -> None:
        self._convert, self._keeps = convert, keeps

    def __call__(self, source: bytes | Image) -> Tensor:
        """One input (3, H, W) float32."""
        return self._convert(open_image(source) if isinstance(source, bytes) else upright_rgb(source))

    def box(self, width: int, height: int) -> Box | None:
        """The part of a photo of this size that reaches the encoder; None where the encoder does not report it."""
        return None if self._keeps is None else self._keeps(width, height)


def image_transform(
    convert: Callable[[Image], Tensor], *, keeps: Callable[[int, int], Box] | None = None
) -> ImageTransform:
    """Makes an encoder's transform from a function that turns an RGB image into pixels (3, H, W) float32.

    `convert` must pickle: use a function at the top level of a module, or an object such as torchvision's `Compose`.
    `keeps` returns the part of a photo that is not cropped: `CentreSquare(fraction)`, `whole_image`, `padded_square`.
    """
    return ImageTransform(convert, keeps)


def thumbnail(data: bytes, *, longest_side: int = 224) -> bytes | None:
    """A small JPEG of an encoded image; None where the bytes are no image."""
    try:
        image = open_image(data)
    except UnreadableImage:
        return None
    image.thumbnail((longest_side, longest_side))
    written = io.BytesIO()
    image.save(written, format="JPEG", quality=80)
    return written.getvalue()
