"""Encoder "clip": preprocessing equals that of open_clip, and the processor of a transformers folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, CLIPImageProcessor

from capfw.core.protocols import (
    BadCheckpoint,
    CapfwWarning,
    ComponentError,
)
from capfw.plugins.libraries.open_clip import find_clip

from .clip_models import ARCHITECTURE, OPENAI_MEAN, OPENAI_STD, build, png, save_clip_model

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


SIZES = [(500, 374), (374, 500), (640, 427), (427, 640), (333, 500), (500, 375), (1, 1), (3, 70), (32, 32), (31, 33)]


@pytest.mark.parametrize(
    "processing",
    [
        {},
        {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.3, 0.2, 0.25]},
        {"size": {"shortest_edge": 40}},
        {"size": {"height": 32, "width": 32}, "do_center_crop": False, "resample": 2},
    ],
    ids=["as published", "other statistics", "larger than the crop", "squashed, bilinear"],
)
def test_pixels_of_a_transformers_folder_are_its_processors(
    tmp_path: Path, processing: dict[str, Any], photo: Photo
) -> None:
    save_clip_model(tmp_path, **processing)
    transform, processor = build(weights=str(tmp_path)).transform, AutoImageProcessor.from_pretrained(tmp_path)
    for size in SIZES:
        expected = processor(photo(*size), return_tensors="pt")["pixel_values"][0]
        assert torch.equal(transform(png(photo(*size))), expected), size


def test_options_come_before_the_processor_of_a_folder(tmp_path: Path, photo: Photo) -> None:
    save_clip_model(tmp_path, do_normalize=False)
    white = build(weights=str(tmp_path), mean=(0, 0, 0), std=(1, 1, 1)).transform(Image.new("RGB", (9, 9), "white"))
    assert torch.equal(white, torch.ones(3, 32, 32))
    shifted = build(weights=str(tmp_path), mean=(0.5,) * 3, std=(0.5,) * 3).transform(Image.new("RGB", (9, 9), "black"))
    assert torch.equal(shifted, -torch.ones(3, 32, 32))
    save_clip_model(tmp_path)
    squashed = build(weights=str(tmp_path), resize_mode="squash")
    expected = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    assert torch.equal(squashed.transform(photo()), expected(photo(), return_tensors="pt")["pixel_values"][0])
    assert squashed.fingerprint() != build(weights=str(tmp_path)).fingerprint()
    shortest = build(weights=str(tmp_path), resize_mode="shortest")
    assert torch.equal(shortest.transform(photo()), build(weights=str(tmp_path)).transform(photo()))
    with pytest.raises(ComponentError, match="cannot resize the longer side") as caught:
        build(weights=str(tmp_path), resize_mode="longest")
    assert caught.value.option == "resize_mode"


def test_a_processor_for_another_size_is_an_error(tmp_path: Path) -> None:
    save_clip_model(tmp_path, size={"shortest_edge": 48}, crop_size=48)
    with pytest.raises(ComponentError, match=r"makes pixels \(3, 48, 48\), but the tower reads \(3, 32, 32\)"):
        build(weights=str(tmp_path))


def test_a_folder_without_a_processor_is_noticed(tmp_path: Path, photo: Photo) -> None:
    save_clip_model(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.warns(CapfwWarning, match=r"no preprocessor_config\.json.* Set /encoder/mean, /encoder/std, "):
        encoder = build(weights=str(tmp_path))
    assert torch.equal(encoder.transform(photo()), open_clip.image_transform(32, is_train=False)(photo()))


def test_preprocessing_of_published_weights() -> None:
    """Even with random or local weights, SigLIP's architecture keeps SigLIP's preprocessing."""
    siglip = find_clip("ViT-B-16-SigLIP", "random").preprocessing
    assert (siglip["mean"], siglip["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")
    encoder = build(model=ARCHITECTURE, weights="random", mean=(0, 0, 0), std=(1, 1, 1), resize_mode="squash")
    white = encoder.transform(Image.new("RGB", (3, 9), (255, 255, 255)))
    assert torch.equal(white, torch.ones(3, 32, 32))


def test_one_pixel_and_batches(photo: Photo) -> None:
    encoder = build(model=ARCHITECTURE, weights="random", features="tokens")
    pixels = torch.stack([encoder.transform(image) for image in (photo(1, 1), photo(1, 70), photo(70, 1))])
    assert pixels.shape == (3, 3, 32, 32)
    together = encoder.encode(pixels)
    alone = torch.cat([encoder.encode(each[None]) for each in pixels])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert not encoder.training


def test_a_line_thinner_than_a_pixel_is_still_an_image(photo: Photo) -> None:
    """resize_mode "longest": 300 x 3 at 32 pixels would be a third of a pixel high, which open_clip cannot resize to."""
    encoder = build(model=ARCHITECTURE, weights="random", resize_mode="longest")
    thin = encoder.transform(Image.new("RGB", (300, 3), "white"))
    assert thin.shape == (3, 32, 32)
    assert thin[0, 15:17].max() > thin[0, 0].max()  # white across the middle, padding above
    plain = photo()
    as_open_clip = open_clip.image_transform(32, is_train=False, resize_mode="longest")
    assert torch.equal(encoder.transform(plain), as_open_clip(plain))  # all others as open_clip has them


@pytest.mark.parametrize(
    ("model", "tag", "settled"),
    [
        ("ViT-L-14", "laion2b_s32b_b82k", {"mean": OPENAI_MEAN, "std": OPENAI_STD}),
        ("ViT-H-14", "dfn5b", {"resize_mode": "shortest"}),
    ],
)
def test_weights_that_may_want_other_pixels_are_noticed(
    model: str, tag: str, settled: dict[str, Any], tmp_path: Path
) -> None:
    """Weights published as ViT-L-14 differ in mean and deviation, those as ViT-H-14 in the way to resize."""
    options = ", ".join(f"/encoder/{name}" for name in settled)
    notice = f'"{tag}".* Set {options} to the values that these weights were trained with'
    with torch.device("meta"):  # shapes without numbers: the models are large
        with pytest.warns(CapfwWarning, match=notice):
            build(model=model, weights="random")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            build(model=model, weights="random", **settled)
            build(model="ViT-B-32", weights="random")  # all of its weights agree
    torch.save({"visual.proj": torch.ones(2)}, tmp_path / "bare.pt")
    with pytest.warns(CapfwWarning, match=notice), pytest.raises(BadCheckpoint, match="does not fit"):
        build(model=model, weights=str(tmp_path / "bare.pt"))


@pytest.mark.parametrize(
    ("options", "box"),
    [
        ({"model": ARCHITECTURE}, (100, 0, 400, 300)),
        ({"model": ARCHITECTURE, "resize_mode": "squash"}, (0, 0, 500, 300)),
        ({"model": ARCHITECTURE, "resize_mode": "longest"}, (0, -100, 500, 400)),
        ({"size": {"shortest_edge": 40}}, (130, 30, 370, 270)),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, (0, 0, 500, 300)),
        ({"size": {"height": 40, "width": 40}}, None),
    ],
)
def test_transform_is_small_and_reports_what_it_keeps(
    options: dict[str, Any], box: tuple[float, ...] | None, tmp_path: Path, assert_travels: Travels, photo: Photo
) -> None:
    if "model" in options:
        encoder = build(weights="random", **options)
    else:
        save_clip_model(tmp_path, **options)
        encoder = build(weights=str(tmp_path))
    assert_travels(encoder.transform, photo())
    assert encoder.transform.box(500, 300) == (None if box is None else pytest.approx(box))
