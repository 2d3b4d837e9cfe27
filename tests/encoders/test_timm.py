"""Encoder "timm": what comes out equals timm's own pipeline, and the reference of the ImageNet weights at hand."""

from __future__ import annotations

import json
import pickle
import re
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
from capfw.plugins.encoders.timm.model import TimmEncoder

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


def build(**options: Any) -> TimmEncoder:
    return TimmEncoder(TimmConfig(**options))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def save(folder: Path, model: str, **options: Any) -> tuple[Path, torch.nn.Module]:
    """Saves a model with its classifier, as timm publishes them."""
    original = timm.create_model(model, **options).eval()
    save_file(original.state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors", original


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


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "mobilenetv1_100"])
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
