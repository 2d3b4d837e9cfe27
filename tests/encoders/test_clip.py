"""Encoder "clip": what comes out equals open_clip's and transformers' own pipelines on the same files."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from capfw.core.errors import SpecError
from capfw.core.protocols import (
    BadCheckpoint,
    ComponentError,
    FeatureShape,
    MissingWeights,
)
from capfw.plugins.encoders.clip import ClipConfig
from capfw.plugins.encoders.clip.model import ClipEncoder

from .clip_models import ARCHITECTURE, OPENAI_MEAN, OPENAI_STD, VIT, build, pixels_of, save_clip_model

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


@pytest.fixture
def original() -> open_clip.CLIP:
    return open_clip.CLIP(**VIT).eval()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_embedding_equals_open_clip(original: open_clip.CLIP, tmp_path: Path, suffix: str, photo: Photo) -> None:
    file = tmp_path / f"clip{suffix}"
    if suffix == ".pt":  # as open_clip's training saves it
        torch.save(
            {"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in original.state_dict().items()}}, file
        )
    else:
        save_file(original.state_dict(), file)
    encoder = build(model=ARCHITECTURE, weights=str(file))
    transform = open_clip.image_transform(32, is_train=False)
    expected = torch.stack([transform(photo(seed=seed)) for seed in range(3)])
    pixels = pixels_of(encoder, photo)
    assert torch.equal(pixels, expected)
    with torch.no_grad():
        embedding = original.encode_image(expected, normalize=True)
    torch.testing.assert_close(encoder.encode(pixels), embedding[:, None])
    raw = build(model=ARCHITECTURE, weights=str(file), normalize=False)
    torch.testing.assert_close(F.normalize(raw.encode(pixels), dim=-1), embedding[:, None])
    assert not torch.allclose(raw.encode(pixels).norm(dim=-1), torch.ones(3, 1))
    assert encoder.feature_shape == FeatureShape(num_tokens=1, dim=24)


def test_vit_tokens_are_the_normed_patches(original: open_clip.CLIP, tmp_path: Path, photo: Photo) -> None:
    save_file(original.state_dict(), tmp_path / "clip.safetensors")
    encoder = build(model=ARCHITECTURE, weights=str(tmp_path / "clip.safetensors"), features="tokens")
    pixels = pixels_of(encoder, photo)
    original.visual.output_tokens = True
    with torch.no_grad():
        _, tokens = original.visual(pixels)
    torch.testing.assert_close(encoder.encode(pixels), tokens)
    assert encoder.feature_shape == FeatureShape(num_tokens=16, dim=32, grid=(4, 4))


def test_resnet_tokens_are_the_grid_before_attention_pooling() -> None:
    architecture = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    }
    encoder = build(model=architecture, weights="random", features="tokens")
    assert encoder.feature_shape == FeatureShape(num_tokens=4, dim=256, grid=(2, 2))
    pixels = torch.randn(2, 3, 64, 64)
    tower = encoder.tower
    with torch.no_grad():
        grid = tower.layer4(tower.layer3(tower.layer2(tower.layer1(tower.stem(pixels)))))
    torch.testing.assert_close(encoder.encode(pixels)[:, 3], grid[:, :, 1, 1])
    pooled = build(model=architecture, weights="random")
    assert pooled.feature_shape == FeatureShape(num_tokens=1, dim=8)


def test_coca_and_timm_towers() -> None:
    vision = VIT["vision_cfg"] | {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
    coca = {"embed_dim": 24, "vision_cfg": vision}
    assert build(model=coca, weights="random").feature_shape == FeatureShape(1, 24)
    assert build(model=coca, weights="random", features="tokens").feature_shape == FeatureShape(16, 32, grid=(4, 4))
    timm = {"embed_dim": 24, "vision_cfg": {"timm_model_name": "test_convnext", "image_size": 160, "timm_pool": "avg"}}
    assert build(model=timm, weights="random").feature_shape == FeatureShape(1, 24)
    assert build(model=timm, weights="random", features="tokens").feature_shape.grid == (5, 5)


def test_openai_archive_is_quick_gelu(tmp_path: Path, photo: Photo) -> None:
    """OpenAI publishes fp16 TorchScript archives with three extra buffers."""
    original = open_clip.CLIP(**VIT, quick_gelu=True).eval()
    for name, value in (("input_resolution", 32), ("context_length", 8), ("vocab_size", 20)):
        if hasattr(original, name):
            delattr(original, name)
        original.register_buffer(name, torch.tensor(value))
    original.half().float()
    original.forward = original.encode_image
    with torch.no_grad():
        torch.jit.trace(original, torch.zeros(1, 3, 32, 32), check_trace=False).half().save(str(tmp_path / "openai.pt"))
    original.float()  # the traced copy shared its parameters
    encoder = build(model=ARCHITECTURE, weights=str(tmp_path / "openai.pt"))
    pixels = pixels_of(encoder, photo)
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(pixels)[:, 0], original.encode_image(pixels, normalize=True))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_openai_tag_is_quick_gelu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")).state_dict().items()}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--timm--vit_base_patch32_clip_224.openai"
    (cached / "snapshots" / "abc").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    # Full size, yet a small file: one number, expanded.
    state = {k: torch.tensor(0.01).expand(shape) for k, shape in shapes.items()}
    torch.save(state, cached / "snapshots" / "abc" / "open_clip_pytorch_model.bin")
    encoder = build(model="ViT-B-32", weights="openai")
    assert sum(isinstance(m, open_clip.transformer.QuickGELU) for m in encoder.tower.modules()) == 12
    white = encoder.transform(Image.new("RGB", (9, 9), "white"))[:, 0, 0]
    torch.testing.assert_close(white, (1 - torch.tensor(OPENAI_MEAN)) / torch.tensor(OPENAI_STD))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_transformers_folder(tmp_path: Path, activation: str, photo: Photo) -> None:
    original = save_clip_model(tmp_path, activation=activation)
    encoder = build(weights=str(tmp_path))
    pixels = pixels_of(encoder, photo)
    with torch.no_grad():
        expected = original.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(encoder.encode(pixels)[:, 0], F.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)
    tokens = build(weights=str(tmp_path), features="tokens").encode(pixels)
    with torch.no_grad():
        hidden = original.vision_model(pixels).last_hidden_state
        expected = original.vision_model.post_layernorm(hidden)[:, 1:]
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)


def test_open_clip_folder(original: open_clip.CLIP, tmp_path: Path, photo: Photo) -> None:
    save_file(original.state_dict(), tmp_path / "open_clip_model.safetensors")
    saved = {"model_cfg": VIT, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(saved))
    encoder = build(weights=str(tmp_path))
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    assert torch.equal(encoder.transform(photo()), transform(photo()))
    with torch.no_grad():
        expected = model.eval().encode_image(pixels_of(encoder, photo), normalize=True)
    torch.testing.assert_close(encoder.encode(pixels_of(encoder, photo))[:, 0], expected)
    with pytest.raises(ComponentError, match="states its own architecture"):
        build(model=ARCHITECTURE, weights=str(tmp_path))


def test_only_the_vision_tower_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        encoder = build(model="ViT-B-32", weights="random")
    assert sum(p.numel() for p in encoder.parameters()) == 87_849_216  # of 151,277,313
    assert not caplog.records


def test_fingerprint_and_pickle(photo: Photo) -> None:
    encoder = build(model=ARCHITECTURE, weights="random")
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint() == encoder.fingerprint()
    assert torch.equal(again.transform(photo()), encoder.transform(photo()))
    options: dict[str, Any] = {"model": ARCHITECTURE, "weights": "random"}
    changes: list[dict[str, Any]] = [
        {},
        {"std": (1, 1, 1)},
        {"normalize": False},
        {"features": "tokens"},
        {"model": ARCHITECTURE | {"quick_gelu": True}},
    ]
    prints = []
    for change in changes:
        torch.manual_seed(0)
        prints.append(build(**options | change).fingerprint())
    assert len(set(prints)) == len(changes)
    assert prints[0] == encoder.fingerprint()  # same weights, same options
    assert build(**options).fingerprint() not in prints  # the next random weights


def test_errors_say_what_and_where(original: open_clip.CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ComponentError, match=r'no architecture "ViT-B32".*\s.*') as caught:
        build(model="ViT-B32", weights="random")
    assert 'Did you mean "ViT-B-32"?' in str(caught.value)
    with pytest.raises(ComponentError, match='no weights "opnai"') as caught:
        build(model="ViT-B-32", weights="opnai")
    assert 'Did you mean "openai"?' in str(caught.value)
    with pytest.raises(SpecError, match="need an architecture"):
        ClipConfig(weights="openai")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(MissingWeights) as caught:
        build(model="RN50x4", weights="openai")
    assert "hf download timm/resnet50x4_clip.openai " in str(caught.value)
    assert "--local-dir clip" in str(caught.value)
    assert 'set "weights" to "./clip" in place of "model"' in str(caught.value)

    state = original.state_dict()
    file = tmp_path / "clip.pt"
    torch.save({k: v for k, v in state.items() if k != "visual.conv1.weight"}, file)
    with pytest.raises(BadCheckpoint, match=r"clip\.pt does not fit.*1 missing: conv1\.weight\."):
        build(model=ARCHITECTURE, weights=str(file))
    torch.save(state, file)
    other = {"embed_dim": 20, "vision_cfg": VIT["vision_cfg"]}
    with pytest.raises(BadCheckpoint, match=r"proj \(32, 24\) \(needed \(32, 20\)\)"):
        build(model=other, weights=str(file))
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(BadCheckpoint, match=r"clip\.pt cannot be read as weights"):
        build(model=ARCHITECTURE, weights=str(file))
    torch.save({"fc.weight": torch.ones(2)}, file)
    with pytest.raises(BadCheckpoint, match="holds no CLIP vision tower"):
        build(model=ARCHITECTURE, weights=str(file))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"visual.proj": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(BadCheckpoint, match=r"bomb\.pt"):
        build(model=ARCHITECTURE, weights=str(tmp_path / "bomb.pt"))
    assert not Path("executed").exists()


@pytest.mark.parametrize("features", ["pooled", "tokens"])
def test_gradients_reach_the_weights(features: Any) -> None:
    encoder = ClipEncoder(ClipConfig(model=ARCHITECTURE, weights="random", features=features))
    assert all(p.requires_grad and p.grad is None for p in encoder.parameters())
    encoder.encode(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert encoder.tower.conv1.weight.grad.abs().sum() > 0
