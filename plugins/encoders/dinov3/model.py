"""The heavy half of encoder "dinov3"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, v2

from ....core.protocols import (
    CentreSquare,
    ComponentError,
    FeatureShape,
    PublishedWeights,
    image_transform,
    weights_fingerprint,
)
from . import DinoV3Config
from .backbone import build_backbone, published_backbone
from .head import build_head, published_head

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class DinoV3Encoder(nn.Module):
    """Encodes RGB images with a DINOv3 Vision Transformer.

    Pooled (B, 1, D): the dino.txt image embedding (DINOv2 Meets Text, section 3: the head's [CLS] and the mean of the
    head's patch tokens, concatenated, D = 2 * width), or the backbone's [CLS]. Tokens (B, N, D): the backbone's patch
    tokens, row by row, without [CLS]; `include_registers` puts the register tokens first. All after the final norm,
    float32, in eval mode.

    The preprocessing is Meta's: resize the shorter side to 256 (bicubic, on uint8, which clips overshoot), crop the
    centre 224 x 224, normalise with ImageNet's statistics.

    Autocast keeps the checkpoint's rotary periods. A cast of the encoder to half precision loses them: timm then
    computes its own.
    """

    def __init__(self, config: DinoV3Config) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for a model that timm does not have."""
        super().__init__()
        self.config = config
        self.normalize = config.uses_head if config.normalize is None else config.normalize
        self.backbone = build_backbone(config)
        self.head = build_head(config, self.backbone) if config.uses_head else None
        self.eval()
        side, patch_side = config.image_size, self.backbone.patch_embed.patch_size[0]
        if side % patch_side:
            raise ComponentError(
                f"image_size {side} is not a multiple of the patch size, {patch_side}.",
                option="image_size",
                fix=f"Use {max(1, round(side / patch_side)) * patch_side}.",
            )
        self.resize = config.resize or side * 256 // 224
        convert = v2.Compose(
            [
                v2.PILToTensor(),
                v2.Resize(self.resize, interpolation=InterpolationMode.BICUBIC, antialias=True),
                v2.CenterCrop(side),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(_MEAN, _STD),
            ]
        )
        self.transform = image_transform(convert, keeps=CentreSquare(side / self.resize))
        self.feature_shape = self._shape(side // patch_side)

    @classmethod
    def published_weights(cls, config: DinoV3Config) -> Sequence[PublishedWeights]:
        return (*published_backbone(config), *published_head(config))

    def encode(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.backbone.forward_features(pixels)  # (B, [CLS] + registers + patches, width)
        if self.config.features == "tokens":
            features = tokens[:, 1 if self.config.include_registers else self.backbone.num_prefix_tokens :]
        elif self.head is None:
            features = tokens[:, :1]
        else:
            tokens = self.head(tokens)
            patches = tokens[:, self.backbone.num_prefix_tokens :]
            features = torch.cat([tokens[:, :1], patches.mean(dim=1, keepdim=True)], dim=-1)  # (B, 1, 2 * width)
        features = features.float()
        return F.normalize(features, dim=-1) if self.normalize else features

    def fingerprint(self) -> str:
        facts = self.config.model_dump(include={"model", "model_args", "features", "pooling", "include_registers"})
        periods = self.backbone.rope.periods.tolist()  # not in timm's state dict
        return weights_fingerprint(self, facts, periods, self.normalize, self.config.image_size, self.resize)

    def _shape(self, patches_per_side: int) -> FeatureShape:
        width = self.backbone.embed_dim
        if self.config.features == "pooled":
            return FeatureShape(num_tokens=1, dim=width if self.head is None else 2 * width)
        num_registers = self.backbone.num_prefix_tokens - 1 if self.config.include_registers else 0
        return FeatureShape(
            num_tokens=num_registers + patches_per_side**2,
            dim=width,
            grid=(patches_per_side, patches_per_side),
            num_extra_tokens=num_registers,
        )
