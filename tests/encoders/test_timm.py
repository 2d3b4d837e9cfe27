"""Encoder "timm": what comes out equals timm's own pipeline, and the reference of the ImageNet weights at hand."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from capfw.core.errors import SpecError
from capfw.core.protocols import BadCheckpoint, ComponentError, FeatureShape, MissingWeights
from capfw.plugins.encoders.timm import TimmConfig

from .timm_models import build, save

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


def test_mobilenet_meets_its_reference(shared_data: Path) -> None:
    folder = shared_data / "mobilenet_v1"
    reference = json.loads((folder / "reference.json").read_text())
    options = {
        "model": "mobilenetv1_100",
        "weights": str(folder / "model.safetensors"),
        "model_args": {"pad_type": "same", "bn_eps": 1e-3},
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "resize_mode": "squash",
    }
    encoder = build(**options)
    with Image.open(shared_data / reference["image"]) as image:
        pixels = encoder.transform(image.convert("RGB"))[None]
    pooled = encoder.encode(pixels)[0, 0]
    assert list(pooled.shape) == reference["pooled_shape"]
    expected = torch.tensor(reference["pooled_first8"])
    torch.testing.assert_close(pooled[:8], expected, rtol=0, atol=reference["atol"])
    assert pooled.mean().item() == pytest.approx(reference["pooled_mean"], abs=reference["atol"])
    assert pooled.norm().item() == pytest.approx(reference["pooled_l2"], abs=20 * reference["atol"])
    grid = build(**options, features="tokens")
    assert grid.feature_shape == FeatureShape(num_tokens=49, dim=1024, grid=(7, 7))
    torch.testing.assert_close(grid.encode(pixels)[0].mean(dim=0), pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "test_mambaout"])
def test_pooled_equals_timm(model: str, tmp_path: Path, photo: Photo) -> None:
    file, original = save(tmp_path, model)
    encoder = build(model=model, weights=str(file))
    data = timm.data.resolve_model_data_config(original)
    transform = timm.data.create_transform(**data, is_training=False)
    expected = torch.stack([transform(photo(seed=seed)) for seed in range(2)])
    pixels = torch.stack([encoder.transform(photo(seed=seed)) for seed in range(2)])
    assert torch.equal(pixels, expected)
    with torch.no_grad():
        pooled = original.forward_head(original.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(encoder.encode(pixels), pooled[:, None])
    normed = build(model=model, weights=str(file), normalize=True)
    torch.testing.assert_close(normed.encode(pixels)[:, 0], F.normalize(pooled, dim=-1))


def test_image_size_resamples_positions_and_preprocessing(tmp_path: Path, photo: Photo) -> None:
    file, original = save(tmp_path, "test_vit")
    encoder = build(model="test_vit", weights=str(file), features="tokens", image_size=96)
    assert encoder.transform(photo()).shape == (3, 96, 96)
    assert encoder.feature_shape == FeatureShape(num_tokens=36, dim=64, grid=(6, 6))
    original.set_input_size(img_size=96)
    with torch.no_grad():
        expected = original.forward_features(torch.ones(1, 3, 96, 96))[:, 1:]
    torch.testing.assert_close(encoder.encode(torch.ones(1, 3, 96, 96)), expected)
    other = build(model="test_vit", weights="random", image_size=96).state_dict()
    save_file({k.removeprefix("net."): v for k, v in other.items()}, tmp_path / "small.safetensors")
    with pytest.raises(BadCheckpoint, match=r"pos_embed \(1, 37, 64\) \(needed \(1, 101, 64\)\)"):
        build(model="test_vit", weights=str(tmp_path / "small.safetensors"))


def test_preprocessing_options() -> None:
    options: dict[str, Any] = {"model": "test_convnext", "weights": "random", "mean": (0, 0, 0), "std": (1, 1, 1)}
    image = Image.new("RGB", (320, 160))
    image.paste((255, 255, 255), (160, 0, 320, 160))  # the right half is white
    squashed = build(**options, image_size=160, resize_mode="squash").transform(image)
    assert squashed.shape == (3, 160, 160)
    assert (squashed[:, :, :70].max(), squashed[:, :, 90:].min()) == (0, 1)
    cropped = build(**options, image_size=80, resize_mode="crop", crop_fraction=0.5).transform(image)
    assert torch.equal(cropped[:, 40], F.pad(torch.ones(3, 40), (40, 0)))  # the middle of 320 x 160, not resized
    nearest = build(**options, interpolation="nearest", resize_mode="squash", image_size=200).transform(image)
    assert set(nearest.unique().tolist()) == {0.0, 1.0}


def test_one_pixel_and_batches(photo: Photo) -> None:
    encoder = build(model="test_vit", weights="random", features="tokens", image_size=32)
    pixels = torch.stack([encoder.transform(image) for image in (photo(1, 1), photo(1, 70), photo(70, 1))])
    alone = torch.cat([encoder.encode(each[None]) for each in pixels])
    torch.testing.assert_close(encoder.encode(pixels), alone, rtol=1e-5, atol=1e-6)
    assert not encoder.training


def test_fingerprint_and_pickle(tmp_path: Path, photo: Photo) -> None:
    file, _ = save(tmp_path, "test_convnext")
    encoder = build(model="test_convnext", weights=str(file))
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint() == encoder.fingerprint()
    assert torch.equal(again.transform(photo()), encoder.transform(photo()))
    moved = file.rename(tmp_path / "moved.safetensors")
    assert build(model="test_convnext", weights=str(moved)).fingerprint() == encoder.fingerprint()
    for change in ({"std": (1, 1, 1)}, {"features": "tokens"}, {"normalize": True}, {"resize_mode": "squash"}):
        assert build(model="test_convnext", weights=str(moved), **change).fingerprint() != encoder.fingerprint()


def test_files_in_the_original_naming_load(tmp_path: Path) -> None:
    """DINOv2's own files carry a `mask_token`, which timm drops."""
    args = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    original = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=28, **args)
    torch.save({"model": original.state_dict() | {"mask_token": torch.zeros(1, 24)}}, tmp_path / "dinov2.pth")
    encoder = build(
        model="vit_small_patch14_dinov2", weights=str(tmp_path / "dinov2.pth"), model_args=args, image_size=28
    )
    pixels = torch.ones(1, 3, 28, 28)
    with torch.no_grad():
        expected = original.eval()(pixels)
    torch.testing.assert_close(encoder.encode(pixels)[:, 0], expected)


@pytest.mark.parametrize("model", ["levit_128s", "deit_tiny_distilled_patch16_224", "mobilenetv3_small_050"])
def test_the_classifier_of_a_checkpoint_is_left_out(model: str, tmp_path: Path) -> None:
    file, original = save(tmp_path, model, num_classes=7)
    encoder = build(model=model, weights=str(file))
    pixels = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        pooled = original.forward_head(original.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(encoder.encode(pixels)[:, 0], pooled)


@pytest.mark.parametrize("features", ["pooled", "tokens"])
@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "levit_128s", "tiny_vit_5m_224", "vit_tiny_dinov3"])
def test_gradients_reach_the_weights(model: str, features: str) -> None:
    """Again and again, in eval mode, whatever was encoded without gradients before."""
    small: dict[str, Any] = {"model": model}
    if model == "vit_tiny_dinov3":
        small = {"model": "vit_small_patch16_dinov3", "model_args": {"embed_dim": 16, "depth": 1, "num_heads": 2}}
    encoder = build(**small, weights="random", features=features)
    pixels = torch.rand(2, *encoder.data_config["input_size"])
    with torch.inference_mode():
        before = encoder.encode(pixels)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        encoder.encode(pixels).square().sum().backward()
        without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
        unused = "net.head." if features == "tokens" else "nothing"
        assert not [name for name in without if not name.startswith(unused)]
        optimizer.step()
    with torch.inference_mode():
        after = encoder.encode(pixels)
    assert not torch.allclose(before, after)
    again = build(**small, weights="random", features=features)
    again.load_state_dict(encoder.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.encode(pixels), after)


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "mobilenetv1_100", "lambda_resnet26t"])
def test_convolutions_compute_in_channels_last_layout_with_the_same_result(model: str) -> None:
    encoder = build(model=model, weights="random", image_size=64)
    kernels = [p for p in encoder.parameters() if p.ndim == 4 and min(p.shape) > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made, fingerprint = encoder.encode(pixels), encoder.fingerprint()
        encoder.to(memory_format=torch.contiguous_format)
        torch.testing.assert_close(encoder.encode(pixels), made, rtol=1e-4, atol=1e-5)
    assert encoder.fingerprint() == fingerprint


def test_a_network_that_only_embeds_patches_keeps_its_layout() -> None:
    encoder = build(model="test_vit", weights="random")
    assert all(parameter.is_contiguous() for parameter in encoder.parameters())


def test_transform_travels(assert_travels: Travels, photo: Photo) -> None:
    encoder = build(model="test_vit", weights="random")
    assert_travels(encoder.transform, photo())


@pytest.mark.parametrize(
    ("options", "size", "box"),
    [
        ({"image_size": 224, "crop_fraction": 0.875}, (640, 480), (110, 30, 530, 450)),  # 224 of 256
        ({"image_size": 160, "crop_fraction": 0.9}, (354, 177), (97, 8.5, 257, 168.5)),  # 160 of floor(177.8)
        ({"resize_mode": "squash"}, (640, 480), (0, 0, 640, 480)),
        ({"model": "dm_nfnet_f0"}, (426, 213), (21, 10.5, 405, 202.5)),  # squashed to 213 x 213, of which 192
        ({"model": "vit_base_patch16_sapiens2"}, (300, 200), (0, 0, 300, 200)),
        ({"model": "deepseek_vit_412m.deepseek_v4_1_flash"}, (400, 200), (0, -100, 400, 300)),  # padded
    ],
)
def test_kept_part_of_a_photo(options: dict[str, Any], size: tuple[int, int], box: tuple[float, ...]) -> None:
    with torch.device("meta"):
        encoder = build(**({"model": "test_vit"} | options), weights="random")
    assert encoder.transform.box(*size) == pytest.approx(box)


def test_errors_say_what_and_where(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r'no model "mobilnetv1_100".* Did you mean "mobilenetv1_100"'):
        build(model="mobilnetv1_100", weights="random")
    with pytest.raises(ComponentError, match="Published: r160_in1k"):
        build(model="test_vit.foo", weights="random")
    with pytest.raises(ComponentError, match="publishes no weights of test_mambaout"):
        build(model="test_mambaout")
    with pytest.raises(ComponentError, match="pad_typ"):
        build(model="mobilenetv1_100", weights="random", model_args={"pad_typ": "same"})
    with pytest.raises(MissingWeights, match=r"hf download timm/test_vit\.r160_in1k"):
        build(model="test_vit")
    file, _ = save(tmp_path, "test_vit")
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors does not fit this architecture: \d+ missing: stem"):
        build(model="test_convnext", weights=str(file))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors cannot be read as weights"):
        build(model="test_vit", weights=str(file))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"include_cls": True}, "include_cls"),
        ({"resize_mode": "squash", "crop_fraction": 0.9}, "crop_fraction"),
        ({"model_args": {"num_classes": 3}}, 'may not set "num_classes"'),
        ({"model_args": {"img_size": 3}}, 'use the option "image_size"'),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(SpecError, match=word):
        TimmConfig(model="test_vit", **options)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"cls_token": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(BadCheckpoint, match=r"bomb\.pth"):
        build(model="test_vit", weights=str(tmp_path / "bomb.pth"))
    assert not Path("executed").exists()
