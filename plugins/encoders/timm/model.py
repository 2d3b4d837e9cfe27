"""The timm encoder\'s network and preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from PIL import Image
from torch import Tensor, nn

from ....core.protocols import (
    ComponentError,
    FeatureShape,
    MissingWeights,
    load_exactly,
    nearest,
    read_weights,
    weights_fingerprint,
)
from . import TimmConfig

_CLASSIFIERS = ("head.", "fc.", "classifier.", "head_dist.")


class TimmEncoder(nn.Module):
    """Encodes pixels (B, 3, H, W) float32 to features (B, N, D) float32.

    Pooled: what timm hands to its classifier. Tokens: a transformer\'s patches after its last norm (prefix tokens first if
    `include_cls`), or a CNN\'s grid row by row. Raises `ComponentError` for an unknown model, `MissingWeights` for published
    weights that are not here, `BadCheckpoint` for a file that is damaged or of another architecture.
    """

    def __init__(self, config: TimmConfig) -> None:
        super().__init__()
        self.config = config
        self.net = _create(config)
        self.net.float().eval()
        self.requires_grad_(False)
        self.data_config = _data_config(config, self.net)
        self._transform = timm.data.create_transform(**self.data_config, is_training=False)
        with torch.no_grad():
            _, num_tokens, dim = self.encode(torch.zeros(1, *self.data_config["input_size"])).shape
        self.feature_shape = FeatureShape(num_tokens, dim)

    def preprocess(self, image: Image.Image) -> Tensor:
        return self._transform(image)

    def encode(self, pixels: Tensor) -> Tensor:
        hidden = self.net.forward_features(pixels)
        if self.config.features == "pooled":
            features = self.net.forward_head(hidden, pre_logits=True).flatten(1)[:, None]  # (B, 1, D)
        else:
            features = self._tokens(hidden)
        return nn.functional.normalize(features, dim=-1) if self.config.normalize else features

    def _tokens(self, hidden: Tensor) -> Tensor:
        if hidden.ndim == 3:
            num_prefix = int(getattr(self.net, "num_prefix_tokens", 0))
            return hidden if self.config.include_cls else hidden[:, num_prefix:]  # (B, N, D)
        if self.config.include_cls is not None:
            raise ComponentError(f"{self.config.model} has no [CLS] token.", option="include_cls", fix="Remove it.")
        if hidden.shape[1] != self.net.num_features:  # channels last, as in Swin: (B, H, W, D)
            return hidden.flatten(1, 2)  # (B, H * W, D)
        return hidden.flatten(2).transpose(1, 2)  # (B, D, H, W) -> (B, H * W, D)

    def fingerprint(self) -> str:
        return weights_fingerprint(self.net, self.data_config, self.config.model_dump(exclude={"weights"}))


def _create(config: TimmConfig) -> nn.Module:
    name = config.model.split(".")[0]
    if not timm.is_model(name):
        close = nearest(name, timm.list_models())
        raise ComponentError(
            f'timm has no model "{config.model}".',
            option="model",
            fix=(f'Did you mean "{close}"?  ' if close else "") + "timm.list_models() lists them.",
        )
    try:
        # A DINOv3-like model prints while it is built; nothing here may write to stdout, so weights come afterwards.
        net = timm.create_model(
            config.model, pretrained=config.weights == "pretrained", num_classes=0, **config.model_args
        )
    except TypeError as err:
        raise ComponentError(
            f"{config.model}: {err}.", option="model_args", fix="Remove or rename that argument."
        ) from err
    except (OSError, RuntimeError) as err:
        if config.weights != "pretrained":
            raise ComponentError(f"{config.model}: {err}.", option="model_args") from err
        raise MissingWeights(
            f"the published weights of {config.model} are not here and cannot be fetched.",
            option="weights",
            fix=f"Fetch them where there is a network (`hf download timm/{config.model}`) into the Hugging Face cache, or name "
            'a local file: "./model.safetensors".',
        ) from err
    if config.weights not in ("pretrained", "random"):
        _load(net, Path(config.weights))
    return net


def _load(net: nn.Module, file: Path) -> None:
    """Loads a file exactly; a classifier in it is left out."""
    own = net.state_dict()
    state = {key: v for key, v in read_weights(file).items() if key in own or not key.startswith(_CLASSIFIERS)}
    load_exactly(net, state, source=file)


def _data_config(config: TimmConfig, net: nn.Module) -> dict[str, Any]:
    own = timm.data.resolve_model_data_config(net)
    side = config.image_size
    changed = {
        "input_size": (3, side, side) if side else None,
        "interpolation": config.interpolation,
        "mean": config.mean,
        "std": config.std,
        "crop_mode": {"crop": "center", "squash": "squash", None: None}[config.resize_mode],
        "crop_pct": 1.0 if config.resize_mode == "squash" else config.crop_fraction,
    }
    return {**own, **{key: value for key, value in changed.items() if value is not None}}
