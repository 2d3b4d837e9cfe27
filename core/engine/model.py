"""The trained part of a captioner: standardised features -> mapper -> prefix -> decoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import BadCheckpoint
from ..protocols import (
    Decoder,
    FeatureShape,
    Generated,
    GenerateOptions,
    Mapper,
    TokenBatch,
    weights_fingerprint,
)


class CaptioningModel(nn.Module):
    """Mapper and decoder as one module, so that one `forward` serves every combination and every number of processes.

    `feature_mean` and `feature_deviation` (D,) are 0 and 1 unless the spec standardises the features.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(self, mapper: Mapper, decoder: Decoder, features: FeatureShape) -> None:
        super().__init__()
        self.mapper, self.decoder = cast("nn.Module", mapper), cast("nn.Module", decoder)
        self.features = features
        self.register_buffer("feature_mean", torch.zeros(features.dim))
        self.register_buffer("feature_deviation", torch.ones(features.dim))

    @property
    def as_mapper(self) -> Mapper:
        """The mapper under its protocol."""
        return cast("Mapper", self.mapper)

    @property
    def as_decoder(self) -> Decoder:
        """The decoder under its protocol."""
        return cast("Decoder", self.decoder)

    def prefix(self, features: Tensor) -> Tensor:
        """Features (B, N, D) -> prefix (B, P, E)."""
        return self.as_mapper((features - self.feature_mean) / self.feature_deviation)

    def forward(self, features: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        """Teacher forcing: summed loss over target tokens, and their number."""
        return self.as_decoder.loss(self.prefix(features), tokens)

    def generate(self, features: Tensor, options: GenerateOptions) -> Generated:
        """Captions for features (B, N, D)."""
        return self.as_decoder.generate(self.prefix(features), options)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters the optimizer updates; tied parameters once."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)

    def saved_state(self) -> dict[str, Tensor]:
        """What a checkpoint holds: trainable parameters and buffers. The rest is rebuilt from the spec."""
        frozen = {name for name, p in self.named_parameters(remove_duplicate=False) if not p.requires_grad}
        tied = {name for name, _ in self.named_parameters(remove_duplicate=False)} - dict(
            self.named_parameters()
        ).keys()
        return {name: value for name, value in self.state_dict().items() if name not in frozen | tied}

    def load_saved_state(self, file: Path) -> None:
        """Reads a checkpoint's weights. Raises `BadCheckpoint` with the first names or shapes that differ."""
        try:
            found = load_file(file)
        except (SafetensorError, OSError) as err:
            raise BadCheckpoint(f"{file} cannot be read: {err}", fix="Restore the file, or train again.") from err
        expected = self.saved_state()
        differing = _differences(expected, found)
        if differing:
            raise BadCheckpoint(
                f"{file} belongs to another model: {'; '.join(differing[:3])}"
                + (f"; and {len(differing) - 3} more" if len(differing) > 3 else ""),
                fix="Load it with the spec it was trained with (spec.json of its run directory).",
            )
        self.load_state_dict(found, strict=False)

    def frozen_fingerprint(self) -> str:
        """A hash of the frozen parameters: a checkpoint is only right on top of the very same ones."""
        holder = nn.ParameterDict(
            {name.replace(".", "/"): p for name, p in self.named_parameters() if not p.requires_grad}
        )
        return weights_fingerprint(holder)


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    lines = [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} is not in the model" for name in found if name not in expected]
    lines += [
        f"{name} is {tuple(found[name].shape)} and not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    return lines
