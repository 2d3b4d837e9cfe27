"""Encoder "timm": patch tokens are the last grid of every kind of model, and what has none is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image

from capfw.core.protocols import ComponentError, FeatureShape

from .timm_models import build, save

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


def test_tokens_of_transformers_and_cnns(tmp_path: Path, photo: Photo) -> None:
    file, original = save(tmp_path, "test_vit")
    patches = build(model="test_vit", weights=str(file), features="tokens")
    with_cls = build(model="test_vit", weights=str(file), features="tokens", include_cls=True)
    pixels = patches.transform(photo())[None]
    with torch.no_grad():
        hidden = original.forward_features(pixels)
    torch.testing.assert_close(with_cls.encode(pixels), hidden)
    torch.testing.assert_close(patches.encode(pixels), hidden[:, 1:])
    registers = build(  # four of them, and [CLS]
        model="vit_small_patch16_dinov3", weights="random", features="tokens", include_cls=True, image_size=32,
        model_args={"embed_dim": 16, "depth": 1, "num_heads": 2},
    )  # fmt: skip
    assert registers.feature_shape == FeatureShape(num_tokens=1 + 4, dim=16, grid=(2, 2), num_extra_tokens=1)
    with torch.no_grad():
        hidden = registers.net.forward_features(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(registers.encode(torch.ones(1, 3, 32, 32)), hidden[:, [0, 5, 6, 7, 8]])
    channels_last = build(model="test_mambaout", weights="random", features="tokens")
    assert channels_last.feature_shape == FeatureShape(num_tokens=25, dim=64, grid=(5, 5))
    cnn = build(model="test_convnext", weights="random", features="tokens")
    with torch.no_grad():
        grid = cnn.net.forward_features(pixels)
    torch.testing.assert_close(cnn.encode(pixels)[:, 7], grid[:, :, 1, 2])
    with pytest.raises(ComponentError, match=r"no \[CLS\] token"):
        build(model="test_convnext", weights="random", features="tokens", include_cls=True)


# Several sequences per image, [CLS] without the patches, or patches that were joined to fewer tokens.
REFUSED = re.compile("coat_(mini|small|tiny)|crossvit_|deepseek_vit_.*_align|efficientvim_|pit_|qwen3_vit_.*_merge")
# Gemma4's positions are read from their values, which the meta device has not: test_patch_tokens_stand_row_by_row.
MODULES = [module for module in timm.list_modules() if module != "gemma4_vit"]


def check_layout(model: str) -> None:
    """No weights and no numbers are needed to know where the tokens are."""
    with torch.device("meta"):
        if REFUSED.match(model):
            with pytest.raises(ComponentError) as caught:
                build(model=model, weights="random", features="tokens")
            assert (caught.value.option, caught.value.fix) == ("features", 'Set "features" to "pooled".'), model
            return
        encoder = build(model=model, weights="random", features="tokens")
    shape, last_layer = encoder.feature_shape, list(encoder.net.feature_info)[-1]
    assert (shape.dim, shape.num_extra_tokens) == (encoder.net.num_features, 0), model
    assert shape.grid is not None
    if model.startswith("mobilenetv5"):  # it resizes its last grids to one size
        assert shape.grid == (16, 16)
        return
    for cells, side in zip(shape.grid, encoder.data_config["input_size"][1:], strict=True):
        expected = side / last_layer["reduction"]
        assert cells == pytest.approx(expected, abs=2), model  # convolutions without padding lose the edges


@pytest.mark.parametrize("module", MODULES)
def test_tokens_are_the_last_grid_of_every_kind_of_model(module: str) -> None:
    names = timm.list_models(module=module)
    # A tiny model made for tests, or the shortest name: of those the last, since "tiny" comes after "base".
    check_layout(max(names, key=lambda name: (name.startswith("test_"), -len(name), name)))


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_tokens_are_the_last_grid_of_every_model(module: str) -> None:
    for model in timm.list_models(module=module):
        check_layout(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("pit_ti_224", "pit_ti_224 emits 1 tokens per image, not the 7 x 7 patches and 1 extra tokens"),
        ("pit_ti_distilled_224", "emits 2 tokens per image, not the 7 x 7 patches"),
        ("crossvit_9_240", "several sequences of tokens"),
        ("coat_tiny", "several sequences of tokens"),
        ("deepseek_vit_412m_align", "emits 169 tokens per image, not the 39 x 39 patches and 0 extra tokens"),
        ("efficientvim_m1", "several sequences of tokens"),
        ("qwen3_vit_88m_merge", "emits 576 tokens per image, not the 48 x 48 patches"),
    ],
)
def test_what_is_no_grid_of_tokens_is_refused(model: str, message: str) -> None:
    with torch.device("meta"):
        with pytest.raises(ComponentError, match=message) as caught:
            build(model=model, weights="random", features="tokens")
        assert (caught.value.option, caught.value.fix) == ("features", 'Set "features" to "pooled".')
        assert build(model=model, weights="random").feature_shape.num_tokens == 1


@pytest.mark.parametrize("model", ["deepseek_vit_412m_enc", "gemma4_vit_167m_enc", "mobilenetv5_300m_enc"])
def test_a_model_without_pooling_is_refused_as_pooled(model: str) -> None:
    with torch.device("meta"), pytest.raises(ComponentError, match=f"{model} has no pooled embedding") as caught:
        build(model=model, weights="random")
    assert (caught.value.option, caught.value.fix) == ("features", 'Set "features" to "tokens".')


# One of each module whose models emit a sequence of tokens, with the number of tokens before the patches.
SEQUENCES = {
    "beit_base_patch16_224": 1, "cait_xxs24_224": 1, "coat_lite_tiny": 1, "convit_tiny": 1,
    "deit_tiny_distilled_patch16_224": 2, "efficientformer_l1": 0, "eva02_tiny_patch14_224": 1, "gemma4_vit_167m": 0,
    "gmlp_ti16_224": 0, "hiera_tiny_224": 0, "levit_128s": 0, "mvitv2_tiny": 0, "naflexvit_base_patch16_gap": 4,
    "test_vit": 1, "test_vit2": 1, "test_vit_relpos": 0, "tnt_s_patch16_224": 1, "twins_svt_small": 0,
    "vit_small_patch16_dinov3": 5, "vit_tiny_r_s16_p8_224": 1, "vitamin_small_224": 0, "volo_d1_224": 1,
}  # fmt: skip


@pytest.mark.parametrize("model", SEQUENCES)
def test_patch_tokens_stand_row_by_row(model: str) -> None:
    smaller: dict[str, Any] = {}
    if model.startswith(("beit", "gemma4", "naflexvit")):
        smaller["model_args"] = {"depth": 2}
    if model.startswith("gemma4"):
        smaller["image_size"] = 96
    encoder = build(model=model, weights="random", features="tokens", **smaller)
    pixels = torch.rand(1, *encoder.data_config["input_size"])
    with torch.no_grad():
        tokens = encoder.encode(pixels)
        can_norm = model != "hiera_tiny_224"  # whose tokens have no norm either
        (grid,) = encoder.net.forward_intermediates(pixels, indices=1, norm=can_norm, intermediates_only=True)
        num_all = encoder.net.forward_features(pixels).shape[1]
    assert encoder.feature_shape.grid == grid.shape[2:]
    torch.testing.assert_close(tokens, grid.flatten(2).transpose(1, 2))
    assert num_all - tokens.shape[1] == SEQUENCES[model]


@pytest.mark.parametrize("model", ["volo_d1_224", "coat_lite_tiny"])
def test_cls_that_timm_does_not_declare(model: str) -> None:
    encoder = build(model=model, weights="random", features="tokens", include_cls=True)
    assert encoder.feature_shape.num_extra_tokens == 1
    pixels = torch.rand(1, *encoder.data_config["input_size"])
    with torch.no_grad():
        hidden = encoder.net.forward_features(pixels)
        torch.testing.assert_close(encoder.encode(pixels), hidden)
        torch.testing.assert_close(hidden[:, 0], encoder.net.forward_head(hidden, pre_logits=True))
    with torch.device("meta"), pytest.raises(ComponentError, match=r"test_vit2 has no \[CLS\] token"):
        build(model="test_vit2", weights="random", features="tokens", include_cls=True)  # one register
