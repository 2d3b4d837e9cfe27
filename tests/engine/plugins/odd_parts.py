"""Parts that do what the built-in ones do not: tests of the engine register them."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from capfw.core import protocols as p


class OddObjectiveConfig(p.ObjectiveConfig):
    """Options of the objective."""

    mode: Literal["plain", "unweighted", "none", "changing", "detached", "signal", "scaled"] = "plain"


class OddObjective(nn.Module):
    """Cross-entropy, handed out in odd ways."""

    rows, is_row_wise = "captions", True

    def __init__(self, config: OddObjectiveConfig, *, metrics: tuple[p.Metric, ...]) -> None:
        super().__init__()
        self.mode, self.num_calls = config.mode, 0
        if self.mode == "scaled":
            self.scale = nn.Parameter(torch.ones(()))

    def forward(self, model: p.CaptionModel, prefix: p.Prefix, batch: p.Batch) -> dict[str, p.Loss]:
        self.num_calls += 1
        value = model.weighted_nll(prefix, batch.tokens, batch.tokens.mask.float())
        if self.mode == "signal" and self.num_calls == 3 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.mode == "scaled":
            value = value * (1 + self.scale.square())
        losses = {"value": p.Loss(value.detach() if self.mode == "detached" else value, per="token")}
        if self.mode == "unweighted":
            return {"value": p.Loss(value, per="token", weight=0.0)}
        if self.mode == "changing" and self.num_calls % 2 == 0:
            losses["other"] = p.Loss(value, per="token", weight=0.0)
        return {} if self.mode == "none" else losses


class OddMapperConfig(p.MapperConfig):
    """Options of the mapper."""

    loss: str = "value"


class OddMapper(nn.Module):
    """One affine map, with a loss of its own under any name."""

    def __init__(self, config: OddMapperConfig, *, features: p.FeatureShape, embed_dim: int) -> None:
        super().__init__()
        self.loss, self.prefix_length, self.embed_dim = config.loss, 1, embed_dim
        self.project = nn.Linear(features.dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.project(features.mean(1, keepdim=True))

    def forward_with_losses(self, features: Tensor) -> tuple[Tensor, dict[str, p.Loss]]:
        prefix = self(features)
        return prefix, {self.loss: p.Loss(prefix.square().mean((1, 2)).sum(), per="row")}


class CountConfig(p.ContextConfig):
    """Options of the context."""

    word: str = "a"


class Count:
    """Learns how many training images there are; the folder must be empty before."""

    fails_now: ClassVar[bool] = False

    def __init__(self, config: CountConfig, *, assets: Path) -> None:
        self.word, self.file = config.word, assets / "count.txt"

    def fit(self, samples: Sequence[p.Sample], features: Callable[[int], Tensor] | None) -> None:
        assert not self.file.exists(), "something was left here"
        self.file.write_text(str(len(samples)))
        if self.fails_now:
            raise KeyboardInterrupt

    def text(self, sample: p.Sample, features: Tensor | None, *, excluding: p.ImageId) -> str:
        return self.word if self.file.read_text() else ""


class OddEncoderConfig(p.EncoderConfig):
    """Options of the encoder."""

    loses_one: bool = False


def _pixels(image: Image.Image) -> Tensor:
    return torch.tensor(list(image.resize((4, 4)).tobytes()), dtype=torch.float32).view(4, 4, 3).permute(2, 0, 1) / 255


class OddEncoder(nn.Module):
    """The pixels themselves, by an encoder without weights that decodes many images at once."""

    feature_shape, transform = p.FeatureShape(num_tokens=1, dim=48), staticmethod(p.image_transform(_pixels))

    def __init__(self, config: OddEncoderConfig) -> None:
        super().__init__()
        self.loses_one = config.loses_one

    def transform_batch(self, data: list[bytes], device: torch.device) -> Tensor:
        inputs = torch.stack([self.transform(each) for each in data]).to(device)
        return inputs[1:] if self.loses_one else inputs

    def encode(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, None]  # (B, 1, 48)

    def fingerprint(self) -> str:
        return "pixels"


@p.hookimpl
def register_objectives() -> list[p.Component]:
    target, example = f"{__name__}:OddObjective", OddObjectiveConfig()
    return [p.Component("odd", OddObjectiveConfig, target, "Odd.", example=example)]


@p.hookimpl
def register_mappers() -> list[p.Component]:
    return [p.Component("odd", OddMapperConfig, f"{__name__}:OddMapper", "Odd.", example=OddMapperConfig())]


@p.hookimpl
def register_contexts() -> list[p.Component]:
    return [p.Component("count", CountConfig, f"{__name__}:Count", "Counts.", example=CountConfig())]


@p.hookimpl
def register_encoders() -> list[p.Component]:
    target, example = f"{__name__}:OddEncoder", OddEncoderConfig()
    return [p.Component("odd", OddEncoderConfig, target, "Odd.", example=example)]
