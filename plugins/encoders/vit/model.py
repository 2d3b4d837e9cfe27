"""The heavy half of encoder "vit"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoImageProcessor, AutoModel, ViTConfig, ViTImageProcessor, ViTModel

from ....core.protocols import (
    BadCheckpoint,
    ComponentError,
    FeatureShape,
    HubWeights,
    PublishedWeights,
    fetch_weights,
    is_local_path,
    listed,
    weights_fingerprint,
)
from ...libraries.hub import CONFIG, IMAGE_PROCESSOR, MODEL
from ...libraries.transformers import NO_ADAPTER_LOOK_UP, first_line, load_pretrained, processor_transform
from . import VitArchitecture, VitConfig


class VitEncoder(nn.Module):
    """Encodes RGB images with a Vision Transformer of the transformers library.

    Pooled (B, 1, D): the first token of `last_hidden_state` (after the final norm in ViT, DeiT and DINO; CLIP norms
    only its `pooler_output`), or `pooler_output`. Tokens (B, N, D): the patch tokens of `last_hidden_state`, row by
    row, without register and distillation tokens; `include_cls` puts [CLS] first. Float32.

    The checkpoint's own image processor makes the pixels, in transformers' default backend, torchvision (it resizes
    uint8). Random models read pixels in -1..1 at their image size.
    """

    def __init__(self, config: VitConfig) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for a model that emits no patch tokens."""
        super().__init__()
        self.features, self.pooling, self.include_cls = config.features, config.pooling, config.include_cls
        self.normalize = config.normalize
        if config.weights == "random":
            self.model, processor = _build_random(config.architecture or VitArchitecture())
        else:
            self.model, processor = _load(config, self.published_weights(config))
        if config.pooling != "pooler" and getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # unused, and random where the checkpoint has none
        self.eval()
        self.transform = processor_transform(processor)
        self._processing = sorted(map(repr, processor.to_dict().items()))
        pixels = self.transform(Image.new("RGB", (64, 64)))
        grid = self._patch_grid(pixels)
        self._num_prefix_tokens = self._count_prefix_tokens(pixels, grid)
        if self._num_prefix_tokens == 0 and (self.include_cls or (self.features == "pooled" and self.pooling == "cls")):
            raise ComponentError(
                f"{type(self.model).__name__} has no [CLS] token.",
                option="include_cls" if self.include_cls else "pooling",
                fix='Set "include_cls" to false.' if self.include_cls else 'Set "pooling" to "pooler".',
            )
        with torch.no_grad():
            _, num_tokens, dim = self.encode(pixels[None]).shape
        is_tokens = config.features == "tokens"
        self.feature_shape = FeatureShape(
            num_tokens, dim, grid=grid if is_tokens else None, num_extra_tokens=int(is_tokens and config.include_cls)
        )

    @classmethod
    def published_weights(cls, config: VitConfig) -> Sequence[PublishedWeights]:
        if config.weights == "random" or is_local_path(config.weights):
            return ()
        return (HubWeights("weights", config.weights, config.weights, (CONFIG, MODEL, IMAGE_PROCESSOR)),)

    def encode(self, pixels: Tensor) -> Tensor:
        output = self.model(pixel_values=pixels)
        features: Tensor = output.last_hidden_state  # (B, prefix + patches, D)
        if self.features == "tokens":
            patches = features[:, self._num_prefix_tokens :]
            features = torch.cat([features[:, :1], patches], dim=1) if self.include_cls else patches
        elif self.pooling == "cls":
            features = features[:, :1]
        else:
            features = output.pooler_output[:, None]  # (B, 1, D)
        return F.normalize(features.float(), dim=-1) if self.normalize else features.float()

    def fingerprint(self) -> str:
        facts = (self.model.config.to_json_string(), self._processing)
        return weights_fingerprint(self.model, *facts, self.features, self.pooling, self.include_cls, self.normalize)

    def _patch_grid(self, pixels: Tensor) -> tuple[int, int]:
        """Returns the rows and columns of the patches of one input (3, H, W)."""
        patch_size = getattr(self.model.config, "patch_size", None)
        if not isinstance(patch_size, int):
            raise self._no_patches()
        height, width = pixels.shape[-2:]
        return height // patch_size, width // patch_size

    @torch.no_grad()
    def _count_prefix_tokens(self, pixels: Tensor, grid: tuple[int, int]) -> int:
        """Counts the tokens before the patches: [CLS], registers and a distillation token, where the model has them."""
        output = self.model(pixel_values=pixels[None])
        tokens = output.last_hidden_state
        num_prefix_tokens = int(tokens.shape[1]) - grid[0] * grid[1]
        # Swin and other pyramids merge their patches, so only their pooler output is usable.
        if tokens.ndim != 3 or (num_prefix_tokens < 0 and self.pooling != "pooler"):
            raise self._no_patches()
        if self.pooling == "pooler" and getattr(output, "pooler_output", None) is None:
            raise ComponentError(
                f"{type(self.model).__name__} has no pooler output.", option="pooling", fix='Set "pooling" to "cls".'
            )
        return num_prefix_tokens

    def _no_patches(self) -> ComponentError:
        return ComponentError(
            f"{type(self.model).__name__} does not emit a sequence of patch tokens.",
            option="weights",
            fix='Use encoder "timm" for other architectures.',
        )


def _build_random(architecture: VitArchitecture) -> tuple[nn.Module, ViTImageProcessor]:
    config = ViTConfig(
        image_size=architecture.image_size,
        patch_size=architecture.patch_size,
        hidden_size=architecture.width,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        intermediate_size=round(architecture.width * architecture.mlp_ratio),
    )
    side = {"height": architecture.image_size, "width": architecture.image_size}
    return ViTModel(config), ViTImageProcessor(size=side)  # mean and standard deviation 0.5


def _load(config: VitConfig, published: Sequence[PublishedWeights]) -> tuple[nn.Module, ViTImageProcessor]:
    """Loads from a folder, or from the cache without a look-up."""
    fetch_weights(published)
    weights = config.weights
    try:
        architecture = load_pretrained(AutoConfig.from_pretrained, weights, option="weights")
        architecture = getattr(architecture, "vision_config", architecture)  # CLIP and SigLIP: the vision tower alone
        # transformers' load report is hidden; its missing weights are checked below.
        model, found = load_pretrained(
            AutoModel.from_pretrained,
            weights,
            option="weights",
            config=architecture,
            dtype=torch.float32,
            output_loading_info=True,
            weights_only=True,
            **NO_ADAPTER_LOOK_UP,
        )
        processor = load_pretrained(
            AutoImageProcessor.from_pretrained, weights, option="weights", backend="torchvision"
        )
    except ComponentError:
        raise
    except Exception as err:  # transformers raises almost anything on damaged files
        raise _explain(weights, err) from err
    needs_pooler = config.pooling == "pooler"
    missing = [name for name in found["missing_keys"] if needs_pooler or not name.startswith("pooler.")]
    if missing:
        hint = ' It has no trained pooler: set "pooling" to "cls".' if missing[0].startswith("pooler.") else ""
        raise BadCheckpoint(
            f"{weights} lacks {len(missing)} weights of {type(model).__name__}: {listed(sorted(missing), 3)}.{hint}",
            option="weights",
        )
    return model, processor


def _explain(weights: str, err: Exception) -> BadCheckpoint:
    files = "config.json, model.safetensors and preprocessor_config.json"
    return BadCheckpoint(
        f"{weights} cannot be loaded: {first_line(err)}",
        option="weights",
        fix=f"Save the model and its image processor again with save_pretrained: the folder needs {files}."
        if is_local_path(weights)
        else f"Download it again: hf download {weights}",
    )
