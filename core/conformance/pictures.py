"""Images for the checks, as users have them: encoded, of any mode and size."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..protocols import Encoder, open_image


def noise(seed: int, *, width: int = 90, height: int = 60) -> Image.Image:
    """An RGB image of random blocks: it survives any resizing, and no two seeds look alike."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, format=form)
    return file.getvalue()


@cache
def odd_images() -> Mapping[str, Image.Image]:
    """What the engine hands to `preprocess` for files that are not a plain RGB photo, by what they are."""
    image = noise(0)
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(image.size))
    files = {
        "an RGB image": encoded(image),
        "a grey image": encoded(image.convert("L")),
        "an image with transparency": encoded(transparent),
        "a palette image": encoded(image.convert("P")),
        "a CMYK image": encoded(image.convert("CMYK"), "JPEG"),
        "an image of one pixel": encoded(image.resize((1, 1))),
        "a very wide image": encoded(image.resize((300, 3))),
        "a very tall image": encoded(image.resize((3, 300))),
    }
    return {what: open_image(data, name=what) for what, data in files.items()}


def pixels(encoder: Encoder, count: int = 3) -> Tensor:
    """Pixels (B, 3, H, W) of different images."""
    return torch.stack([encoder.preprocess(noise(seed)) for seed in range(1, count + 1)])
