"""The photo and the check that the tests of all encoders share."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights are the same in every test."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image.Image]:
    """photo(width=57, height=41, seed=0): an image of random colours, the same for the same arguments."""

    def make(width: int = 57, height: int = 41, seed: int = 0) -> Image.Image:
        values = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
        return Image.fromarray(values.to(torch.uint8).numpy())

    return make


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
