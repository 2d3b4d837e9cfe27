"""Encoder "vit": what comes out equals transformers' own pipeline on folders written by save_pretrained."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, BitImageProcessor, ConvNextImageProcessor, ViTImageProcessor

from capfw.core.errors import SpecError
from capfw.core.protocols import BadCheckpoint, ComponentError, FeatureShape, MissingWeights
from capfw.plugins.encoders.vit import TINY, VitConfig
from capfw.plugins.encoders.vit.model import VitEncoder

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VISION = SIZES | {"image_size": 32, "patch_size": 8}
TEXT = SIZES | {"vocab_size": 9, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}


def build(**options: Any) -> VitEncoder:
    """The encoder as the engine has it: built, then frozen."""
    return VitEncoder(VitConfig(**options)).requires_grad_(False)


def save_model(folder: Path, kind: str) -> torch.nn.Module:
    """Saves a tiny model of a kind, with weights that are nowhere zero, and its image processor."""
    if kind in ("clip", "siglip"):
        config = AutoConfig.for_model(kind, vision_config=dict(VISION), text_config=dict(TEXT))
    else:
        registers = {"num_register_tokens": 3} if kind in ("dinov2_with_registers", "dinov3_vit") else {}
        config = AutoConfig.for_model(kind, **VISION, **registers)
    model = AutoModel.from_config(config).eval()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return getattr(model, "vision_model", model)


# kind, tokens before the patches, whether the first of them is [CLS]
KINDS = [
    ("vit", 1),
    ("deit", 2),
    ("beit", 1),
    ("dinov2", 1),
    ("dinov2_with_registers", 4),
    ("dinov3_vit", 4),
    ("clip", 1),
]


@pytest.mark.parametrize(("kind", "num_prefix_tokens"), KINDS)
def test_outputs_equal_transformers(kind: str, num_prefix_tokens: int, tmp_path: Path, photo: Photo) -> None:
    original = save_model(tmp_path, kind)
    tokens = build(weights=str(tmp_path), features="tokens", include_cls=True)
    processor = ViTImageProcessor.from_pretrained(tmp_path)
    pixels = torch.stack([tokens.transform(photo(seed=seed)) for seed in range(2)])
    assert torch.equal(pixels, processor([photo(seed=0), photo(seed=1)], return_tensors="pt")["pixel_values"])
    with torch.no_grad():
        output = original(pixels)
    hidden = output.last_hidden_state
    expected = torch.cat([hidden[:, :1], hidden[:, num_prefix_tokens:]], dim=1)
    torch.testing.assert_close(tokens.encode(pixels), expected, rtol=1e-4, atol=1e-4)
    assert tokens.feature_shape == FeatureShape(num_tokens=17, dim=32, grid=(4, 4), num_extra_tokens=1)
    cls = build(weights=str(tmp_path))
    torch.testing.assert_close(cls.encode(pixels), hidden[:, :1], rtol=1e-4, atol=1e-4)
    pooler = build(weights=str(tmp_path), pooling="pooler")
    torch.testing.assert_close(pooler.encode(pixels)[:, 0], output.pooler_output, rtol=1e-4, atol=1e-4)
    assert pooler.feature_shape == FeatureShape(num_tokens=1, dim=32)


def test_siglip_has_patches_and_a_pooler_but_no_cls(tmp_path: Path, photo: Photo) -> None:
    original = save_model(tmp_path, "siglip")
    tokens = build(weights=str(tmp_path), features="tokens")
    pixels = tokens.transform(photo())[None]
    with torch.no_grad():
        output = original(pixels)
    torch.testing.assert_close(tokens.encode(pixels), output.last_hidden_state, rtol=1e-4, atol=1e-4)
    pooled = build(weights=str(tmp_path), pooling="pooler")
    torch.testing.assert_close(pooled.encode(pixels)[:, 0], output.pooler_output, rtol=1e-4, atol=1e-4)
    with pytest.raises(ComponentError, match=r"no \[CLS\] token") as caught:
        build(weights=str(tmp_path))
    assert caught.value.option == "pooling"


def test_a_pyramid_has_a_pooler_output_only(tmp_path: Path) -> None:
    """Swin merges its patches: its tokens are neither [CLS] nor the patches that patch_size tells of."""
    sizes = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
    AutoModel.from_config(AutoConfig.for_model("swin", **sizes)).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    for options in ({}, {"features": "tokens"}):
        with pytest.raises(ComponentError, match="does not emit a sequence of patch tokens"):
            build(weights=str(tmp_path), **options)
    assert build(weights=str(tmp_path), pooling="pooler").feature_shape == FeatureShape(num_tokens=1, dim=16)


def test_processor_of_the_checkpoint_is_used(tmp_path: Path, photo: Photo) -> None:
    save_model(tmp_path, "dinov2")
    processor = BitImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 24}, image_mean=[0.1] * 3
    )
    processor.save_pretrained(tmp_path)
    encoder = build(weights=str(tmp_path), features="tokens")
    expected = processor(photo(), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(encoder.transform(photo()), expected)
    assert encoder.feature_shape == FeatureShape(num_tokens=4 * 3, dim=32, grid=(4, 3))


def test_random_model_follows_the_architecture() -> None:
    encoder = build(weights="random", architecture=TINY, features="tokens")
    assert encoder.feature_shape == FeatureShape(num_tokens=4, dim=32, grid=(2, 2))
    grey = encoder.transform(Image.new("RGB", (5, 9), (0, 255, 51)))
    assert torch.allclose(grey, torch.tensor([-1.0, 1.0, -0.6])[:, None, None].expand(3, 32, 32), atol=1e-6)
    assert not encoder.training


def test_one_pixel_and_batches(photo: Photo) -> None:
    encoder = build(weights="random", architecture=TINY, features="tokens")
    sizes = [(1, 1), (3, 1), (1, 3), (3, 3), (1, 70)]
    pixels = torch.stack([encoder.transform(photo(*size)) for size in sizes])
    assert pixels.shape == (5, 3, 32, 32)
    alone = torch.cat([encoder.encode(each[None]) for each in pixels])
    torch.testing.assert_close(encoder.encode(pixels), alone, rtol=1e-5, atol=1e-6)
    red = encoder.transform(Image.new("RGB", (3, 1), (255, 0, 0)))
    assert red[0].min() > 0.99
    assert red[1:].max() < -0.99


def test_fingerprint_and_pickle(tmp_path: Path, photo: Photo) -> None:
    save_model(tmp_path, "vit")
    encoder = build(weights=str(tmp_path))
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint() == encoder.fingerprint() == build(weights=str(tmp_path)).fingerprint()
    assert torch.equal(again.transform(photo()), encoder.transform(photo()))
    prints = {encoder.fingerprint(), build(weights=str(tmp_path), pooling="pooler").fingerprint()}
    prints.add(build(weights=str(tmp_path), features="tokens").fingerprint())
    ViTImageProcessor(size={"height": 32, "width": 32}, resample=0).save_pretrained(tmp_path)
    prints.add(build(weights=str(tmp_path)).fingerprint())
    assert len(prints) == 4


def test_missing_pooler_is_random_nowhere(tmp_path: Path) -> None:
    """A classifier's checkpoint has no pooler: transformers would make one up."""
    from transformers import ViTForImageClassification

    config = AutoConfig.for_model("vit", **VISION)
    ViTForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    assert build(weights=str(tmp_path)).fingerprint() == build(weights=str(tmp_path)).fingerprint()
    with pytest.raises(
        BadCheckpoint, match=r"lacks 2 weights of ViTModel: pooler\.dense\.bias.* set \"pooling\" to \"cls\""
    ):
        build(weights=str(tmp_path), pooling="pooler")


def test_options_without_effect_are_refused() -> None:
    for options, word in (
        ({"weights": "google/vit", "architecture": {}}, "architecture"),
        ({"weights": "random", "features": "tokens", "pooling": "pooler"}, "pooling"),
        ({"weights": "random", "include_cls": True}, "include_cls"),
        ({"weights": "random", "architecture": {"width": 30, "num_heads": 4}}, "not a multiple of num_heads"),
    ):
        with pytest.raises(SpecError, match=word):
            VitConfig(**options)
    for features in ("pooled", "tokens"):
        config = VitConfig(weights="random", features=features)
        assert config.emitted_features() == features
        assert VitConfig(**config.model_dump()) == config  # a resolved spec, every default written in


def test_errors_name_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path, "vit")
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:5000])
    with pytest.raises(BadCheckpoint, match=str(tmp_path)):
        build(weights=str(tmp_path))
    weights.write_bytes(whole)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"hidden_size": 32', '"hidden_size": 16'))
    with pytest.raises(BadCheckpoint, match=str(tmp_path)):
        build(weights=str(tmp_path))
    (tmp_path / "config.json").write_text(text.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(BadCheckpoint, match="lacks 16 weights of ViTModel"):
        build(weights=str(tmp_path))
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadCheckpoint, match=r"preprocessor_config\.json"):
        build(weights=str(tmp_path))
    with pytest.raises(MissingWeights, match=r"hf download google/vit-base-patch16-224-in21k"):
        build(weights="google/vit-base-patch16-224-in21k")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path, "vit")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"layernorm.weight": Bomb()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadCheckpoint, match=str(tmp_path)):
        build(weights=str(tmp_path))
    assert not Path("executed").exists()


def test_normalized_features_are_of_length_one(tmp_path: Path) -> None:
    save_model(tmp_path, "vit")
    plain, normalized = build(weights=str(tmp_path)), build(weights=str(tmp_path), normalize=True)
    pixels = torch.randn(2, 3, 32, 32)
    expected = torch.nn.functional.normalize(plain.encode(pixels), dim=-1)
    torch.testing.assert_close(normalized.encode(pixels), expected)
    assert normalized.fingerprint() != plain.fingerprint()


@pytest.mark.parametrize(
    ("processor", "box"),
    [
        (ViTImageProcessor(size={"height": 32, "width": 32}), (0, 0, 500, 300)),
        (BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}), (130, 30, 370, 270)),
        (BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 24}), None),
        (ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.5), None),  # it crops in its own way
    ],
)
def test_transform_is_small_and_reports_what_it_keeps(
    processor: Any, box: tuple[float, ...] | None, tmp_path: Path, assert_travels: Travels, photo: Photo
) -> None:
    save_model(tmp_path, "dinov2")
    processor.save_pretrained(tmp_path)
    encoder = build(weights=str(tmp_path))
    assert_travels(encoder.transform, photo())
    assert encoder.transform.box(500, 300) == (None if box is None else pytest.approx(box))


@pytest.mark.parametrize("options", [{}, {"pooling": "pooler"}, {"features": "tokens"}])
def test_gradients_reach_the_weights(options: dict[str, Any]) -> None:
    encoder = VitEncoder(VitConfig(weights="random", architecture=TINY, **options))
    assert all(p.requires_grad and p.grad is None for p in encoder.parameters())
    encoder.encode(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert encoder.model.embeddings.patch_embeddings.projection.weight.grad.abs().sum() > 0
