"""Checks that the tests of all encoders share."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image


@pytest.fixture(scope="session")
def assert_travels() -> Callable[[Any, Image.Image], None]:
    """assert_travels(transform, image): pickled, the transform is small, and makes the same pixels of the image's bytes."""

    def check(transform: Any, image: Image.Image) -> None:
        written = io.BytesIO()
        image.save(written, format="PNG")
        sent = pickle.dumps(transform)
        assert len(sent) < 4096
        pixels = pickle.loads(sent)(written.getvalue())
        assert torch.equal(pixels, transform(image))
        assert pixels.dtype == torch.float32

    return check
