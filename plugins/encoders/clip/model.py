"""The heavy half of encoder "clip"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.protocols import ComponentError, FeatureShape, PublishedWeights, weights_fingerprint
from ...libraries.clip_architectures import Architecture
from ...libraries.open_clip import build_vision_tower, clip_transform, find_clip, published_clip
from . import ClipConfig

_PREPROCESSING = ("mean", "std", "resize_mode")


class ClipEncoder(nn.Module):
    """Encodes RGB images with the vision tower of a CLIP model, without the text tower.

    Pooled: the projected embedding (B, 1, D). Tokens: the patch tokens (B, N, D) of the last layer, row by row, before
    pooling and projection, without [CLS]. A ViT's tokens are taken after its final norm (CoCa's before it), a ResNet's
    before attention pooling. Float32.
    """

    def __init__(self, config: ClipConfig) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for an unknown architecture."""
        super().__init__()
        self.features = config.features
        self.normalize = config.features == "pooled" if config.normalize is None else config.normalize
        source = find_clip(_model(config), config.weights)
        chosen = {key: getattr(config, key) for key in _PREPROCESSING if getattr(config, key) is not None}
        source.warn_of_unsettled(chosen=chosen, section="/encoder")
        self.tower = build_vision_tower(source)
        self.transform, pixel_facts = clip_transform(source, self.tower.image_size, **chosen)
        vision = [source.architecture.get(key) for key in ("embed_dim", "vision_cfg", "quick_gelu")]
        self._facts = (vision, pixel_facts, self.features, self.normalize)
        self.eval()
        self.feature_shape = self._ask_shape()

    @classmethod
    def published_weights(cls, config: ClipConfig) -> Sequence[PublishedWeights]:
        return published_clip(_model(config), config.weights)

    def encode(self, pixels: Tensor) -> Tensor:
        features = self._embedding(pixels) if self.features == "pooled" else self._tokens(pixels)
        features = features.float()
        return F.normalize(features, dim=-1) if self.normalize else features

    def fingerprint(self) -> str:
        return weights_fingerprint(self.tower, *self._facts)

    @torch.no_grad()
    def _ask_shape(self) -> FeatureShape:
        """Runs the tower once to find the shape of its output, which open_clip states only in part."""
        size = self.tower.image_size
        pixels = torch.zeros(1, 3, *((size, size) if isinstance(size, int) else size))
        if self.features == "pooled":
            return FeatureShape(num_tokens=1, dim=self._embedding(pixels).shape[-1])
        dim, rows, columns = self._grid(pixels).shape[1:]
        return FeatureShape(num_tokens=rows * columns, dim=dim, grid=(rows, columns))

    def _embedding(self, pixels: Tensor) -> Tensor:
        output = self.tower(pixels)
        pooled: Tensor = output[0] if isinstance(output, tuple) else output  # CoCa towers return their tokens as well
        return pooled[:, None]  # (B, 1, D)

    def _tokens(self, pixels: Tensor) -> Tensor:
        return self._grid(pixels).flatten(2).transpose(1, 2)  # (B, D, rows, columns) -> (B, rows * columns, D)

    def _grid(self, pixels: Tensor) -> Tensor:
        """The patch tokens as a grid (B, D, rows, columns)."""
        try:
            grid: Tensor = self.tower.forward_intermediates(
                pixels,
                indices=1,
                # With attention pooling (CoCa) the final norm is for the pooled queries, not for the patches.
                normalize_intermediates=getattr(self.tower, "attn_pool", None) is None,
                intermediates_only=True,
                output_fmt="NCHW",
            )["image_intermediates"][-1]
        except (AttributeError, NotImplementedError) as err:
            raise ComponentError(
                "open_clip cannot return the patch tokens of this architecture.",
                option="features",
                fix='Set "features" to "pooled".',
            ) from err
        return grid


def _model(config: ClipConfig) -> str | dict[str, object] | None:
    return config.model.model_dump() if isinstance(config.model, Architecture) else config.model
