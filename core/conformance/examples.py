"""The encoded bytes that the checks give to encoders and metrics: small images, or the examples of a component."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..protocols import Encoder
from .checks import require
from .subjects import Subject

NUM_EXAMPLES = 3


def noise(seed: int, *, width: int = 90, height: int = 60) -> Image.Image:
    """An RGB image of random blocks. It stays distinct from other seeds after any resize."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, format=form)
    return file.getvalue()


@cache
def odd_images() -> Mapping[str, bytes]:
    """Unusual image files by their description, and a plain RGB image."""
    image = noise(0)
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(image.size))
    return {
        "an RGB image": encoded(image),
        "a grey image": encoded(image.convert("L")),
        "an image of 16 bits": encoded(Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) * 257)),
        "an image with transparency": encoded(transparent),
        "a palette image": encoded(image.convert("P")),
        "a CMYK image": encoded(image.convert("CMYK"), "JPEG"),
        "an image of one pixel": encoded(image.resize((1, 1))),
        "a very wide image": encoded(image.resize((300, 3))),
        "a very tall image": encoded(image.resize((3, 300))),
    }


def reads_images(subject: Subject) -> bool:
    """Whether the encoder's sources are images: True unless the component has `example_sources`."""
    return subject.component.example_sources is None


def examples(subject: Subject) -> list[bytes]:
    """The bytes of three different sources that the encoder reads."""
    make = subject.component.example_sources
    if make is None:
        return [encoded(noise(seed)) for seed in range(1, NUM_EXAMPLES + 1)]
    made = list(make())
    is_right = len(set(made)) >= NUM_EXAMPLES and all(isinstance(each, bytes) for each in made)
    require(is_right, f"`example_sources` must return {NUM_EXAMPLES} or more different bytes.")
    return made[:NUM_EXAMPLES]


def bad_bytes(subject: Subject) -> Mapping[str, bytes]:
    """Bytes that cannot be decoded, by their description."""
    whole = examples(subject)[0]
    return {"no bytes at all": b"", "bytes that mean nothing": b"no input", "half a file": whole[: len(whole) // 2]}


def inputs(subject: Subject, encoder: Encoder) -> Tensor:
    """Inputs (B, ...) of the examples."""
    return torch.stack([encoder.transform(each) for each in examples(subject)])
