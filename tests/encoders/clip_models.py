"""Small CLIP models for the tests of encoder "clip"."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from capfw.plugins.encoders.clip import ClipConfig
from capfw.plugins.encoders.clip.model import ClipEncoder

Travels = Callable[[Any, Image.Image], None]
Photo = Callable[..., Image.Image]


VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1},
}
ARCHITECTURE = {key: VIT[key] for key in ("embed_dim", "vision_cfg")}


OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def build(**options: Any) -> ClipEncoder:
    """The encoder as the engine has it: built, then frozen."""
    return ClipEncoder(ClipConfig(**options)).requires_grad_(False)


def png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def pixels_of(encoder: ClipEncoder, photo: Photo) -> torch.Tensor:
    return torch.stack([encoder.transform(photo(seed=seed)) for seed in range(3)])


def save_clip_model(folder: Path, *, activation: str = "quick_gelu", **processing: Any) -> CLIPModel:
    """Saves a tiny `CLIPModel` and its image processor, as transformers does."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "layer_norm_eps": 1e-3,
    }
    config = CLIPConfig(
        vision_config=vision | {"image_size": 32, "patch_size": 8, "hidden_act": activation},
        text_config=sizes | {"vocab_size": 20, "bos_token_id": 1, "eos_token_id": 2},
        projection_dim=24,
    )
    original = CLIPModel(config).eval()
    for parameter in original.parameters():  # the library's own initialisation leaves biases at zero
        torch.nn.init.normal_(parameter, std=0.3)
    original.save_pretrained(folder)
    CLIPImageProcessor(**({"size": {"shortest_edge": 32}, "crop_size": 32} | processing)).save_pretrained(folder)
    return original
