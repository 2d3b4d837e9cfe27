"""The bytes of images, and which files are images."""

from __future__ import annotations

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
