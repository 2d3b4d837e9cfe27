"""Images as users have them: any mode, any orientation tag, sometimes broken."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps

from ..errors import UnreadableImage
from ..protocols import ImageSource

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def read_bytes(source: ImageSource) -> bytes:
    """The encoded image. Raises `UnreadableImage` when the file cannot be read."""
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as err:
        raise UnreadableImage(f"cannot read the image: {err.strerror or err}", where=str(source)) from err


def decode(data: bytes, *, name: str) -> Image.Image:
    """Decodes to RGB, upright as its EXIF orientation says; grey, palette, CMYK and alpha images are converted.

    Transparent pixels lie on white. Raises `UnreadableImage` naming `name` when Pillow cannot decode all of it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data))
            opened.load()
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return image.convert("RGB")
    # Pillow's decoders raise almost anything on damaged input: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as err:
        raise UnreadableImage(f"cannot decode the image: {err}", where=name) from err
