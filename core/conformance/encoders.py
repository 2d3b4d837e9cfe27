"""Checks of an encoder's features, weights and fingerprint. B inputs, N feature tokens, D their width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from ..engine.seeds import seeded
from ..options.fields import listed_values
from ..protocols import ComponentConfig, Encoder, EncoderConfig, FeatureKind, narrowed
from .checks import check, require
from .comparing import close, shape_of
from .examples import examples, inputs
from .subjects import Subject
from .training import as_trained


def _said(config: ComponentConfig) -> FeatureKind | None:
    return narrowed(config, EncoderConfig).emitted_features()


@check(
    "features-as-declared",
    "encoder",
    advice="Return features (B, N, D) as float32 from `encode`, N = 1 when pooled, and declare the same N and D in "
    "`feature_shape`.",
)
def features_as_declared(subject: Subject) -> None:
    """`encode` returns (B, N, D) float32, finite, with the N and D of `feature_shape`."""
    encoder = subject.encoder
    with torch.no_grad():
        features, declared = encoder.encode(inputs(subject, encoder)), encoder.feature_shape
    wanted = (3, declared.num_tokens, declared.dim)
    is_right = isinstance(features, Tensor) and features.shape == wanted and features.dtype == torch.float32
    require(is_right, f"three inputs gave {shape_of(features)}, but feature_shape says {wanted} float32.")
    require(bool(features.isfinite().all()), "some features are not finite.")


@check(
    "emits-what-it-says",
    "encoder",
    advice='Return "pooled" from `emitted_features()` of the config when N is 1, and "tokens" when it is greater; None only '
    "if just the built encoder knows N.",
)
def emits_what_it_says(subject: Subject) -> None:
    """`emitted_features()` of the config agrees with the features that the encoder emits."""
    said, num_tokens = _said(subject.config), subject.encoder.feature_shape.num_tokens
    emitted = "pooled" if num_tokens == 1 else "tokens"
    require(said in (None, emitted), f"emitted_features() is {said!r}, but there are {num_tokens} tokens per image.")


@check(
    "encodes-the-same-twice",
    "encoder",
    advice="Use no dropout or other random numbers in eval mode, and keep no state between calls.",
)
def encodes_the_same_twice(subject: Subject) -> None:
    """The same bytes always give the same inputs and the same features."""
    encoder = subject.encoder
    first, second = inputs(subject, encoder), inputs(subject, encoder)
    require(torch.equal(first, second), "`transform` gave other inputs for the same bytes.")
    with torch.no_grad():
        is_same = torch.equal(encoder.encode(first), encoder.encode(first))
    require(is_same, "`encode` gave other features for the same inputs.")


@check(
    "encodes-image-by-image",
    "encoder",
    advice="Compute each image alone: no statistics over the batch (BatchNorm in training mode, normalising over B).",
)
def encodes_image_by_image(subject: Subject) -> None:
    """A batch of three gives the same features as three batches of one."""
    encoder = subject.encoder
    batch = inputs(subject, encoder)
    with torch.no_grad():
        together, alone = encoder.encode(batch), [encoder.encode(each[None]) for each in batch]
    require(close(together, torch.cat(alone)), "three inputs gave other features together than one by one.")


@check(
    "is-frozen",
    "encoder",
    advice="Inherit from nn.Module, so that the engine can freeze every part; never switch modes or gradients on again.",
)
def is_frozen(subject: Subject) -> None:
    """After the engine has frozen it, nothing is trainable, in training mode, or has gradients."""
    encoder = subject.encoder
    features = encoder.encode(inputs(subject, encoder))
    require(not features.requires_grad, "its features carry gradients.")
    require(not any(p.requires_grad for p in encoder.parameters()), "some parameters are trainable.")
    parts = list(encoder.named_modules()) if isinstance(encoder, nn.Module) else []
    training = [name or "the encoder" for name, part in parts if part.training]
    require(not training, f"in training mode: {', '.join(training[:3])}.")


@check(
    "encoder-can-be-tuned",
    "encoder",
    advice="Leave freezing to the engine: no `requires_grad_(False)`, `no_grad`, `inference_mode` or `detach` in the "
    "encoder. Otherwise `/train/tune` trains less than it names. Keep constants in buffers.",
)
def encoder_can_be_tuned(subject: Subject) -> None:
    """Without freezing, gradients reach every weight on which the features depend."""
    subject.sound()
    with seeded(0, "encoder"):
        encoder: Encoder = subject.construct().train(False)
    as_trained(encoder)
    given, weights = inputs(subject, encoder), _parameters(encoder)
    features = encoder.encode(given)
    if features.requires_grad:
        directions = torch.randn(features.shape, generator=torch.Generator().manual_seed(8))
        torch.autograd.backward((features * directions).sum())
    untouched = {name: p for name, p in weights.items() if p.grad is None or not p.grad.any()}
    with torch.no_grad():
        before = encoder.encode(given)
        for name, weight in untouched.items():
            with _moved(weight):
                is_used = not close(encoder.encode(given), before)
            require(not is_used, f"features depend on the weight {name}, but no gradient reaches it.")


@check(
    "fingerprint-is-stable",
    "encoder",
    advice="Hash only the weights and the transform: no clock, no id(), no memory address in a repr.",
)
def fingerprint_is_stable(subject: Subject) -> None:
    """Two encoders with the same options and seed have the same fingerprint, a string."""
    first, second = subject.encoder.fingerprint(), subject.build().fingerprint()
    require(isinstance(first, str) and bool(first), f"`fingerprint` returned {first!r}.")
    require(first == second, f"after another build with the same seed, the fingerprint is {second!r}, not {first!r}.")


@check(
    "fingerprint-covers-weights",
    "encoder",
    advice="Hash every weight on which the features depend, at the time of the call: "
    "weights_fingerprint(self, ...) of capfw.core.protocols. Otherwise new weights get old features.",
)
def fingerprint_covers_weights(subject: Subject) -> None:
    """The fingerprint changes with every weight that changes the features."""
    subject.sound()
    encoder = subject.build()  # a new one, because this check changes its weights
    given, state = inputs(subject, encoder), _weights(encoder)
    with torch.no_grad():
        features, fingerprint = encoder.encode(given), encoder.fingerprint()
        for name, weight in state.items():
            with _moved(weight):
                unseen = encoder.fingerprint() == fingerprint
                require(
                    not unseen or torch.equal(encoder.encode(given), features),
                    f"a change of the weight {name} changes the features, but not the fingerprint.",
                )


@contextmanager
def _moved(weight: Tensor) -> Iterator[None]:
    """Gives the weight other values, and restores it afterwards. Use it without gradients."""
    kept = weight.clone()
    weight.add_(0.5 * torch.sin(torch.arange(weight.numel())).view_as(weight) + 0.1)
    try:
        yield
    finally:
        weight.copy_(kept)


def _weights(encoder: Encoder) -> dict[str, Tensor]:
    """The encoder's floating-point parameters and buffers by name, not copies."""
    if not isinstance(encoder, nn.Module):
        return dict(_parameters(encoder))
    return {name: value for name, value in encoder.state_dict(keep_vars=True).items() if value.is_floating_point()}


def _parameters(encoder: Encoder) -> Mapping[str, nn.Parameter]:
    """Floating-point parameters by name, or by number where the encoder is not a module."""
    if isinstance(encoder, nn.Module):
        named = dict(encoder.named_parameters())
    else:
        named = {str(number): parameter for number, parameter in enumerate(encoder.parameters())}
    return {name: parameter for name, parameter in named.items() if parameter.is_floating_point()}


@check(
    "fingerprint-covers-options",
    "encoder",
    advice="Also hash every option on which inputs or features depend: weights_fingerprint(self, option).",
)
def fingerprint_covers_options(subject: Subject) -> None:
    """The fingerprint changes with every option that changes inputs or features."""
    encoder, example = subject.encoder, subject.component.example
    if subject.changes and _said(subject.config) == _said(example):
        return  # the check of the example already compares it with this variant
    source, fingerprint = examples(subject)[0], encoder.fingerprint()
    own = encoder.transform(source)
    for name, value in _other_values(subject.config):
        other = Subject(subject.kind, subject.component, subject.plugin, {**subject.changes, name: value})
        try:
            another = other.build()
            theirs = another.transform(source)
            with torch.no_grad():
                is_same = torch.equal(theirs, own) and close(another.encode(theirs[None]), encoder.encode(own[None]))
        except Exception:  # blindly chosen values may not fit, and an encoder that does not build stores no features
            continue
        require(
            is_same or another.fingerprint() != fingerprint,
            f"with {other.options} inputs or features differ, but the fingerprint is the same.",
        )


def _other_values(config: ComponentConfig) -> Iterator[tuple[str, object]]:
    """Options with listed values, booleans and whole numbers, each with values other than the current one."""
    for name, option in type(config).model_fields.items():
        now = getattr(config, name)
        others = list(listed_values(option))
        if bool in (option.annotation, *get_args(option.annotation)):
            others += [True, False]
        elif isinstance(now, int) and not isinstance(now, bool):
            others += [2 * now, now + 1]
        yield from ((name, other) for other in others if other != now)
