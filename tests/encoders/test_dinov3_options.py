"""Encoder "dinov3" without files: options, random weights, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from capfw.core.errors import SpecError
from capfw.core.protocols import ComponentError, FeatureShape, MissingWeights
from capfw.plugins.encoders.dinov3 import BACKBONE_FILE, HEAD_FILE, TINY, DinoV3Config
from capfw.plugins.encoders.dinov3 import backbone as backbones

from .dinov3_models import build

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"features": "tokens", "pooling": "cls"}, "pooling"),
        ({"include_registers": True}, "include_registers"),
        ({"pooling": "cls", "head_weights": "random"}, "head_weights"),
        ({"image_size": 64, "resize": 50}, "smaller than image_size"),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(SpecError, match=word):
        DinoV3Config(**options)


def test_the_head_is_random_on_a_random_backbone_and_published_on_any_other() -> None:
    assert DinoV3Config(weights="random").head_source == "random"
    assert DinoV3Config().head_source == "published"
    assert DinoV3Config(weights="random", head_weights="published").head_source == "published"
    old = DinoV3Config(features="tokens", head_weights="published")  # as specs were once resolved
    assert not old.uses_head


def test_missing_named_file_says_how_to_get_it() -> None:
    for field in ("weights", "head_weights"):
        with pytest.raises(SpecError) as caught:
            DinoV3Config(**{field: "./nowhere.pth"})
        for word in ("nowhere.pth", "on request", BACKBONE_FILE, HEAD_FILE):
            assert word in str(caught.value)


def test_other_sizes_and_wrong_names() -> None:
    small = build(model="vit_small_plus_patch16_dinov3", weights="random", pooling="cls", model_args=TINY)
    assert small.feature_shape == FeatureShape(1, 32)
    own = small.backbone.state_dict()
    official = backbones.official_layout(small.backbone)
    assert official["blocks.0.mlp.w3.weight"] == tuple(own["blocks.0.mlp.fc2.weight"].shape)
    with pytest.raises(MissingWeights, match=r"hf download timm/vit_small_patch16_dinov3\.lvd1689m"):
        build(model="vit_small_patch16_dinov3", features="tokens")
    with pytest.raises(ComponentError, match=r'no DINOv3.* Did you mean "vit_base_patch16_dinov3"'):
        build(model="vit_base_patch16_dino3", weights="random", pooling="cls")
    with pytest.raises(ComponentError, match="not a multiple of the patch size, 16") as caught:
        build(weights="random", pooling="cls", model_args=TINY, image_size=40)
    assert "Use 32." in str(caught.value)


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "cls"}, {"features": "tokens"}, {"features": "tokens", "include_registers": True}]
)
def test_gradients_reach_the_weights(options: dict[str, Any]) -> None:
    """Again and again, in eval mode, whatever was encoded without gradients before."""
    encoder = build(**options, model_args=TINY, weights="random", image_size=32)
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        before = encoder.encode(pixels)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (encoder.encode(pixels) - 1).square().sum().backward()
        assert not [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
        optimizer.step()
    with torch.inference_mode():
        assert not torch.allclose(encoder.encode(pixels), before)


def test_transform_travels_and_reports_what_it_keeps(assert_travels: Travels, photo: Photo) -> None:
    encoder = build(model_args=TINY, weights="random", pooling="cls")
    assert_travels(encoder.transform, photo())
    assert encoder.transform.box(640, 480) == (110, 30, 530, 450)  # 224 of 256
    whole = build(model_args=TINY, weights="random", pooling="cls", image_size=32, resize=32)
    assert whole.transform.box(640, 480) == (80, 0, 560, 480)


def test_one_pixel_and_batches(photo: Photo) -> None:
    encoder = build(model_args=TINY, weights="random", head_weights="random", image_size=32)
    pixels = torch.stack([encoder.transform(image) for image in (photo(1, 1), photo(1, 70), photo(70, 1))])
    alone = torch.cat([encoder.encode(each[None]) for each in pixels])
    torch.testing.assert_close(encoder.encode(pixels), alone, rtol=1e-5, atol=1e-6)
    assert encoder.encode(pixels).norm(dim=-1).allclose(torch.ones(3, 1))
    assert math.isclose(encoder.transform(Image.new("RGB", (1, 1)))[0, 0, 0].item(), -0.485 / 0.229, rel_tol=1e-5)
