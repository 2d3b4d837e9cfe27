"""The encoder: pixels to CIELAB, and the statistics of each cell. B images, G cells and S pixels per side."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from capfw.core.protocols import FeatureShape, ImageTransform, image_transform, weights_fingerprint, whole_image

from . import ColorGridConfig

VERSION = 1  # raise it when the arithmetic below changes, so that capfw does not reuse stored features
XYZ_OF_RGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)  # D65, the white of sRGB


class ColorGrid(nn.Module):
    """Colour statistics per cell: mean (3) and standard deviation (3) of L*, a*, b*, and a histogram of hues (K).

    Features are (B, G * G, 6 + K) under "tokens" and (B, 1, G * G * (6 + K)) under "pooled", float32.
    """

    matrix: Tensor

    def __init__(self, config: ColorGridConfig) -> None:
        super().__init__()
        self.config = config
        to_xyz = torch.tensor(XYZ_OF_RGB, dtype=torch.float64) / torch.tensor(WHITE, dtype=torch.float64)[:, None]
        self.register_buffer("matrix", to_xyz.float())  # (3, 3); a buffer, so it moves to the device with the encoder

    @property
    def feature_shape(self) -> FeatureShape:
        """N, D and the grid of the tokens."""
        size, dim = self.config.grid_size, 6 + self.config.num_hues
        if self.config.features == "pooled":
            return FeatureShape(1, size**2 * dim)
        return FeatureShape(size**2, dim, grid=(size, size))

    @property
    def transform(self) -> ImageTransform:
        """From the bytes of an image to sRGB (3, S, S) float32 in 0..1."""
        size = self.config.grid_size * self.config.cell_size
        return image_transform(partial(_to_pixels, size=size), keeps=whole_image)

    def encode(self, pixels: Tensor) -> Tensor:
        """SRGB (B, 3, S, S) -> features (B, N, D)."""
        lab = self._lab(pixels)  # (B, 3, S, S)
        mean = self._cell_means(lab)  # (B, 3, G, G)
        spread = lab - mean.repeat_interleave(self.config.cell_size, 2).repeat_interleave(self.config.cell_size, 3)
        deviation = self._cell_means(spread.square()).sqrt()  # (B, 3, G, G)
        statistics = torch.cat([mean, deviation, self._hues(lab)], dim=1)  # (B, 6 + K, G, G)
        tokens = statistics.flatten(2).transpose(1, 2)  # (B, G * G, 6 + K)
        return tokens.flatten(1)[:, None] if self.config.features == "pooled" else tokens

    def fingerprint(self) -> str:
        """Identifies the arithmetic and the options; there are no weights."""
        return weights_fingerprint(self, "colorgrid", VERSION, self.config.model_dump_json())

    def _lab(self, pixels: Tensor) -> Tensor:
        """SRGB (B, 3, S, S) -> CIELAB divided by 100, so that L* is 0..1 (IEC 61966-2-1 and CIE 15)."""
        linear = torch.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055).pow(2.4))
        xyz = torch.einsum("ij,bjhw->bihw", self.matrix, linear)  # relative to white
        knee = 6 / 29
        roots = torch.where(xyz > knee**3, xyz.clamp_min(0).pow(1 / 3), xyz / (3 * knee**2) + 4 / 29)
        x, y, z = roots.unbind(1)
        return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], dim=1)

    def _hues(self, lab: Tensor) -> Tensor:
        """Lab (B, 3, S, S) -> histogram (B, K, G, G): each pixel adds its chroma to the two bins nearest to its hue.

        Grey pixels have no chroma, so their hue, which is noise, does not count.
        """
        hue, chroma = torch.atan2(lab[:, 2], lab[:, 1]), torch.hypot(lab[:, 1], lab[:, 2])  # (B, S, S)
        width = 2 * math.pi / self.config.num_hues
        bins = []
        for centre in range(self.config.num_hues):  # one bin at a time, to save memory
            distance = (torch.remainder(hue - centre * width + math.pi, 2 * math.pi) - math.pi).abs()
            bins.append(self._cell_means((chroma * (1 - distance / width).clamp_min(0))[:, None]))
        return torch.cat(bins, dim=1)

    def _cell_means(self, values: Tensor) -> Tensor:
        """(B, C, S, S) -> means over each cell (B, C, G, G)."""
        grid, cell = self.config.grid_size, self.config.cell_size
        return values.unflatten(3, (grid, cell)).unflatten(2, (grid, cell)).mean(dim=(3, 5))


def _to_pixels(image: Image.Image, *, size: int) -> Tensor:
    """An RGB image of any size -> (3, S, S) float32 in 0..1; each pixel is the mean of the area it covers."""
    resized = image.resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()
