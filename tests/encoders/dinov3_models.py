"""Builds encoder "dinov3" for its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

from capfw.plugins.encoders.dinov3 import DinoV3Config
from capfw.plugins.encoders.dinov3.model import DinoV3Encoder

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


def build(**options: Any) -> DinoV3Encoder:
    return DinoV3Encoder(DinoV3Config(**options))
