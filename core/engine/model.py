"""The model: inputs -> (encoder, if tuned) -> standardised features -> mapper -> prefix -> decoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import BadCheckpoint, listed
from ..protocols import (
    Batch,
    Decoder,
    Encoder,
    FeatureShape,
    Generated,
    GenerateOptions,
    HasWeightedNll,
    Loss,
    Mapper,
    MapperWithLosses,
    Prefix,
    TokenBatch,
    weights_fingerprint,
)


class CaptioningModel(nn.Module):
    """Mapper and decoder, and the encoder if it is tuned: everything that a run may train.

    `feature_mean` and `feature_deviation` (D,) are 0 and 1 unless the spec standardises the features.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(
        self, mapper: Mapper, decoder: Decoder, features: FeatureShape, *, tuned_encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        self.encoder = None if tuned_encoder is None else cast("nn.Module", tuned_encoder)
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

    def train(self, mode: bool = True) -> Self:
        """Sets the mode. Frozen modules stay in eval mode, where dropout would only add noise; so does a tuned encoder.

        A module is frozen if it has parameters and none of them is trained; its submodules are then frozen too.
        """
        super().train(mode)
        if mode:
            if self.encoder is not None:
                self.encoder.eval()  # the statistics of its batch norms are those of its pretraining
            _put_frozen_into_eval(self)
        return self

    def prefix(self, batch: Batch) -> Prefix:
        """The prefix that the decoder continues: vectors (B, P, E), and the text of each row."""
        return Prefix(self.as_mapper(self.standardized(batch)), batch.text)

    def prefix_and_losses(self, batch: Batch) -> tuple[Prefix, dict[str, Loss]]:
        """The prefix, and the mapper's own losses."""
        if not isinstance(self.mapper, MapperWithLosses):
            return self.prefix(batch), {}
        vectors, losses = self.mapper.forward_with_losses(self.standardized(batch))
        return Prefix(vectors, batch.text), dict(losses)

    def standardized(self, batch: Batch) -> Tensor:
        """The features (B, N, D) that the mapper reads."""
        features = batch.inputs if self.encoder is None else cast("Encoder", self.encoder).encode(batch.inputs)
        return (features - self.feature_mean) / self.feature_deviation

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """The natural logarithm of each token's probability (B, T) float32; 0 where the mask is False."""
        return self.as_decoder.log_probs(prefix, tokens)

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        """The scalar `-(weights * log_probs).sum()` for weights (B, T), from the decoder's fused method if it has one."""
        if isinstance(self.decoder, HasWeightedNll):
            return self.decoder.weighted_nll(prefix, tokens, weights)
        return -(weights * self.log_probs(prefix, tokens)).sum()

    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        """Captions that continue each prefix, without gradients and in eval mode. Sampling depends on the seeds (B,)."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                return self.as_decoder.generate(prefix, options, seeds)
        finally:
            for module in training:
                module.training = True

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of generated ids."""
        return self.as_decoder.detokenize(ids)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that the optimizer updates; tied parameters appear once."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)

    def saved_state(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint: trainable parameters and buffers. The spec rebuilds the rest."""
        return saved_state(self)

    def load_saved_state(self, file: Path) -> None:
        """Loads the weights of a checkpoint, without those of the objective.

        Raises `BadCheckpoint` with the first names or shapes that differ.
        """
        found = {n: v for n, v in read_state(file).items() if not n.startswith(OBJECTIVE)}
        require_same(self.saved_state(), found, file)
        self.load_state_dict(found, strict=False)

    def frozen_fingerprint(self) -> str:
        """A hash of the frozen parameters. A checkpoint is valid only together with exactly these."""
        holder = nn.ParameterDict(
            {name.replace(".", "/"): p for name, p in self.named_parameters() if not p.requires_grad}
        )
        return weights_fingerprint(holder)


def _put_frozen_into_eval(module: nn.Module) -> tuple[bool, bool]:
    """Returns whether the module has parameters, and whether one of them trains."""
    own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
    below = [_put_frozen_into_eval(child) for child in module.children()]
    has_parameters, trains = bool(own) or any(has for has, _ in below), any(own) or any(some for _, some in below)
    if has_parameters and not trains:
        module.eval()
    return has_parameters, trains


OBJECTIVE = "objective."  # prefix of the objective's weights in a checkpoint


def saved_state(module: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters and buffers of a module by name; tied parameters appear once."""
    frozen = {name for name, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    tied = {name for name, _ in module.named_parameters(remove_duplicate=False)} - dict(
        module.named_parameters()
    ).keys()
    return {name: value for name, value in module.state_dict().items() if name not in frozen | tied}


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's weights file. Raises `BadCheckpoint` when it cannot be read."""
    try:
        return load_file(file)
    except (SafetensorError, OSError) as err:
        raise BadCheckpoint(f"{file} cannot be read: {err}", fix="Restore the file, or train again.") from err


def require_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], file: Path) -> None:
    """Raises `BadCheckpoint` with the first differences, unless names and shapes are equal."""
    differing = [f"{name} is missing" for name in expected if name not in found]
    differing += [f"{name} is not in the model" for name in found if name not in expected]
    differing += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    if differing:
        raise BadCheckpoint(
            f"{file} belongs to another model: {listed(differing, 3, between='; ')}.",
            fix="Use the spec of its training (spec.json in its run directory).",
        )
