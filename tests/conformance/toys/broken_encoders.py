"""Sound encoders with one thing spoiled each, called after the check that must find it."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from sound_models import (
    Eye,
    QuickEye,
    shrink,
)
from sound_toys import EyeConfig
from torch import Tensor, nn

from capfw.core.protocols import (
    FeatureShape,
    image_transform,
    weights_fingerprint,
)


class BuildsOffline(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        with contextlib.suppress(OSError):  # and quietly keeps its random weights
            socket.create_connection(("weights.example.org", 443))


class HasTheMethods(Eye):
    fingerprint = property()  # there is no such attribute on an instance


class SeedsNothing(Eye):
    def __init__(self, config: EyeConfig) -> None:
        torch.manual_seed(0)
        super().__init__(config)


class LeavesSettingsAlone(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        os.environ["TOY_BUILDS"] = str(int(os.environ.get("TOY_BUILDS", 0)) + 1)


class FeaturesAsDeclared(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        return super().encode(inputs).double()


class EmitsWhatItSays(Eye):
    @property
    def feature_shape(self) -> FeatureShape:
        return FeatureShape(4, 6)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.patches(inputs).flatten(2).transpose(1, 2)


class EncodesTheSameTwice(Eye):
    calls = 0

    def encode(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return super().encode(inputs) * (1 + 1e-6 * self.calls)


class EncodesImageByImage(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        features = super().encode(inputs)
        return features - features.mean(0)


class IsFrozen(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        return super().encode(inputs.requires_grad_())


class EncoderCanBeTuned(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return super().encode(inputs)


@dataclass(frozen=True)
class Then:
    """A transform, and a function of what it makes."""

    first: Callable[[bytes], Tensor]
    after: Callable[[Tensor], Tensor]

    def __call__(self, data: bytes) -> Tensor:
        return self.after(self.first(data))


def doubled(pixels: Tensor) -> Tensor:
    return pixels.double()


class InputsOfOneShape(Eye):
    @property
    def transform(self) -> Then:
        return Then(super().transform, doubled)

    def encode(self, inputs: Tensor) -> Tensor:
        return super().encode(inputs.float())


def shrink_narrow(image: Image.Image, side: int) -> Tensor:
    if image.width > 90:
        raise ValueError("too wide")
    return shrink(image, side, flip=False)


class TransformsAnyImage(Eye):
    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        return image_transform(partial(shrink_narrow, side=self.config.side))


def open_and_shrink(data: bytes, side: int, flip: bool) -> Tensor:
    return shrink(Image.open(io.BytesIO(data)).convert("RGB"), side, flip)


class RefusesBadBytes(Eye):
    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        return partial(open_and_shrink, side=self.config.side, flip=self.config.flip)


@dataclass(frozen=True)
class Times:
    weights: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels * self.weights[0]


class TransformPickles(Eye):
    @property
    def transform(self) -> Then:
        return Then(super().transform, Times(torch.ones(1000)))


class Keeping:
    def __init__(self, transform: Callable[[bytes], Tensor]) -> None:
        self.transform = transform

    def __call__(self, data: bytes) -> Tensor:
        self.data = data
        time.sleep(0.002)
        return self.transform(self.data)


class TransformsInThreads(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        self.keeping = Keeping(super().transform)

    @property
    def transform(self) -> Keeping:
        return self.keeping


class TransformsBatches(QuickEye):
    def transform_batch(self, data: list[bytes], device: torch.device) -> Tensor:
        return super().transform_batch(data, device).flip(0)


class FingerprintIsStable(Eye):
    def fingerprint(self) -> str:
        return weights_fingerprint(self, self.config.model_dump(), id(self))


class FingerprintCoversWeights(Eye):
    def fingerprint(self) -> str:
        return weights_fingerprint(nn.ParameterList([self.patches.weight]), self.config.model_dump())


class FingerprintCoversOptions(Eye):
    def fingerprint(self) -> str:
        return weights_fingerprint(self, self.config.features, self.config.side)
