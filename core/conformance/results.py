"""A captioned split for the checks of loggers and exporters: few images, with everything that real ones may have."""

from __future__ import annotations

from ..protocols import CaptionedImage, CaptionedSplit, MemorySource
from .examples import encoded, noise


def captioned_split() -> CaptionedSplit:
    """Three images: an ordinary one, one with hostile text and few scores, and one that is no picture, with no caption."""
    hostile = '=1+1 "quoted", <b>bold</b> | a\\b\nsecond line \u202e \U0001f600 %s {x} \x1b[31m'
    images = [
        CaptionedImage(
            7,
            ("a dog runs", "a dog"),
            (-3.5, -4.25),
            ("a brown dog runs", "a dog on sand"),
            {"CIDEr": 1.25, "BLEU-4": 0.5},
            MemorySource(encoded(noise(1)), "dog.png"),
            "dog.png",
        ),
        CaptionedImage(
            "image/8", (hostile,), (-9.0,), (hostile,), {"CIDEr": 0.0}, MemorySource(encoded(noise(2)), "b.png")
        ),
        CaptionedImage("9", ("",), (-0.5,), (), {"CIDEr": 0.0, "BLEU-4": 0.0}, MemorySource(b"no picture", "c.wav")),
    ]
    return CaptionedSplit("a run", "test", 20, {"CIDEr": 0.4, "BLEU-4": 0.2}, images, {"capfw": 1, "seed": 42})
