"""Images as users have them: opened from bytes, turned into an encoder's input, shown small. No torch, Pillow on use."""

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

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the upright photo; beyond its edges where an encoder pads."""


def open_image(data: bytes, *, name: str = "the image") -> Image:
    """Decodes to RGB with 8 bits a channel, upright as the EXIF orientation says.

    Grey, palette, CMYK, 16-bit and 32-bit images are converted; transparent pixels lie on white. Raises `UnreadableImage`
    naming `name` when Pillow cannot decode all of it.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data))
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


def _eight_bits(image: Image) -> Image:
    """A grey image of 16 or 32 bits as one of 8; Pillow's own conversion clips everything above 255 to white.

    16 bits range over 0..65535. 32-bit integers do when they fit, floats over 0..1 or 0..255 when they fit; otherwise the
    largest value is white.
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
    """The part of a photo that remains when its shorter side is resized and the centre is cropped.

    `fraction`: side of the square, as a fraction of the shorter side.
    """

    fraction: float = 1.0

    def __call__(self, width: int, height: int) -> Box:
        """The square, of a photo of this size."""
        side = min(width, height) * self.fraction
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side


def whole_image(width: int, height: int) -> Box:
    """All of a photo, as when both sides are resized."""
    return 0.0, 0.0, float(width), float(height)


def padded_square(width: int, height: int) -> Box:
    """The square around a photo whose longer side is resized, the shorter one padded."""
    side = max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


class ImageTransform:
    """An encoder's transform: encoded bytes (PNG, JPEG, ...), or an opened RGB image, to one input (3, H, W) float32.

    It holds no weights and pickles small: it travels to the processes that read images. Raises `UnreadableImage`.
    """

    def __init__(self, convert: Callable[[Image], Tensor], keeps: Callable[[int, int], Box] | None) -> None:
        self._convert, self._keeps = convert, keeps

    def __call__(self, source: bytes | Image) -> Tensor:
        """One input (3, H, W) float32."""
        return self._convert(open_image(source) if isinstance(source, bytes) else source.convert("RGB"))

    def box(self, width: int, height: int) -> Box | None:
        """The part of a photo of this size that reaches the encoder; None where the encoder does not tell."""
        return None if self._keeps is None else self._keeps(width, height)


def image_transform(
    convert: Callable[[Image], Tensor], *, keeps: Callable[[int, int], Box] | None = None
) -> ImageTransform:
    """Makes an encoder's transform of the usual function from an RGB image to pixels (3, H, W) float32.

    `convert` must pickle: a function at the top level of a module, or an object such as torchvision's `Compose`.
    `keeps` gives the part of a photo that is not cropped away: `CentreSquare(fraction)`, `whole_image`, `padded_square`.
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
