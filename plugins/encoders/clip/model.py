"""The heavy half of encoder "clip"."""

from __future__ import annotations

import open_clip
import torch
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.protocols import ComponentError, FeatureShape, load_exactly, weights_fingerprint
from . import ClipConfig
from .sources import TowerSource, find_source


class ClipEncoder(nn.Module):
    """Encodes RGB images with the vision tower of a CLIP model; the text tower is never built.

    Pooled: the projected embedding (B, 1, D). Tokens: the last layer's patch tokens (B, N, D), row by row, before
    pooling and projection, [CLS] left out; after the tower's final norm where it has one of that width (ViT), and
    the last grid before attention pooling where the tower is a ResNet. Float32, all parameters frozen.
    """

    def __init__(self, config: ClipConfig) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for an architecture that does not exist."""
        super().__init__()
        self.features = config.features
        self.normalize = config.features == "pooled" if config.normalize is None else config.normalize
        source = find_source(config)
        self.tower = _build_tower(source)
        if source.state is not None:
            load_exactly(self.tower, source.state, source=source.origin)
        self.requires_grad_(False).eval()
        overrides = {"mean": config.mean, "std": config.std, "resize_mode": config.resize_mode}
        preprocessing = source.preprocessing | {key: value for key, value in overrides.items() if value is not None}
        self.preprocessing = open_clip.transform.PreprocessCfg(size=self.tower.image_size, **preprocessing)
        self.transform = open_clip.transform.image_transform_v2(self.preprocessing, is_train=False)
        self._facts = (repr(source.architecture), repr(self.preprocessing), self.features, self.normalize)
        features = self.encode(
            torch.zeros(1, *self.preprocessing.input_size)
        )  # what a tower emits is asked, not derived
        self.feature_shape = FeatureShape(num_tokens=features.shape[1], dim=features.shape[2])

    def preprocess(self, image: Image) -> Tensor:
        if self.preprocessing.resize_mode == "longest":
            image = _thick_enough(image, max(self.preprocessing.input_size[1:]))
        pixels: Tensor = self.transform(image)
        return pixels

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        features = self._embedding(pixels) if self.features == "pooled" else self._tokens(pixels)
        features = features.float()
        return F.normalize(features, dim=-1) if self.normalize else features

    def fingerprint(self) -> str:
        return weights_fingerprint(self.tower, *self._facts)

    def _embedding(self, pixels: Tensor) -> Tensor:
        output = self.tower(pixels)
        pooled: Tensor = output[0] if isinstance(output, tuple) else output  # CoCa towers give their tokens as well
        return pooled[:, None]  # (B, 1, D)

    def _tokens(self, pixels: Tensor) -> Tensor:
        try:
            grid: Tensor = self.tower.forward_intermediates(
                pixels,
                indices=1,
                # With attention pooling (CoCa) the final norm belongs to the pooled queries, not to the patches.
                normalize_intermediates=getattr(self.tower, "attn_pool", None) is None,
                intermediates_only=True,
                output_fmt="NCHW",
            )["image_intermediates"][-1]
        except (AttributeError, NotImplementedError) as err:
            raise ComponentError(
                "this architecture does not give its patch tokens.",
                option="features",
                fix='Set "features" to "pooled".',
            ) from err
        return grid.flatten(2).transpose(1, 2)  # (B, D, H, W) -> (B, H * W, D)


def _thick_enough(image: Image, side: int) -> Image:
    """The image, of which no side may shrink to nothing when the longer one becomes `side` pixels: open_clip fails then."""
    least = -(-max(image.size) // side)
    return image if min(image.size) >= least else image.resize((max(image.width, least), max(image.height, least)))


def _build_tower(source: TowerSource) -> nn.Module:
    no_text = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}
    try:
        model = open_clip.CLIP(**source.architecture, text_cfg=no_text)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as err:
        raise ComponentError(f"open_clip cannot build this architecture: {err}", option="model") from err
    tower: nn.Module = model.visual
    return tower
