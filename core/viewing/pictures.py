"""Small copies of photos, for the page."""

from __future__ import annotations

import io

from ..errors import UnreadableSource
from ..protocols import Source
from ..protocols.images import open_image

GRID_SIDE = 448
PHOTO_SIDE = 1600


def picture_of(source: Source | None, longest_side: int) -> bytes | None:
    """A WebP copy of a photo, at most this large, without the photo's metadata; None where the source is no image."""
    if source is None:
        return None
    try:
        image = open_image(source.read(), name=source.name)
    except UnreadableSource:
        return None
    image.thumbnail((longest_side, longest_side))
    written = io.BytesIO()
    image.save(written, format="WEBP", quality=72, method=2)
    return written.getvalue()
