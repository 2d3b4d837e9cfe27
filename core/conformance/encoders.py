"""Checks of image encoders. B images, N feature tokens, D their width."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import torch
from torch import Tensor, nn

from ..fields import listed_values
from ..protocols import ComponentConfig, Encoder
from .checks import check, require
from .closeness import close, shape_of
from .pictures import noise, odd_images, pixels
from .subjects import Subject

_NUM_THREADS = 4


@torch.no_grad()
def _features(encoder: Encoder, count: int = 3) -> Tensor:
    return encoder.encode(pixels(encoder, count))


@check(
    "features-as-declared",
    "encoder",
    advice="Return features (B, N, D) as float32 from `encode`, N = 1 when pooled, and say the same N and D in "
    "`feature_shape`.",
)
def features_as_declared(subject: Subject) -> None:
    """`encode` returns (B, N, D) float32, finite, with the N and D of `feature_shape`."""
    features, declared = _features(subject.encoder), subject.encoder.feature_shape
    wanted = (3, declared.num_tokens, declared.dim)
    is_right = isinstance(features, Tensor) and features.shape == wanted and features.dtype == torch.float32
    require(is_right, f"three images gave {shape_of(features)}, but feature_shape says {wanted} float32.")
    require(bool(features.isfinite().all()), "some features are not finite.")


@check(
    "emits-what-it-says",
    "encoder",
    advice='Let `emitted_features()` of the config return "pooled" when N is 1 and "tokens" when it is more; None only if '
    "that is known once built.",
)
def emits_what_it_says(subject: Subject) -> None:
    """`emitted_features()` of the config agrees with what is emitted."""
    said, num_tokens = subject.config.emitted_features(), subject.encoder.feature_shape.num_tokens
    emitted = "pooled" if num_tokens == 1 else "tokens"
    require(said in (None, emitted), f"emitted_features() is {said!r}, but there are {num_tokens} tokens per image.")


@check(
    "encodes-the-same-twice",
    "encoder",
    advice="Leave out dropout and other random numbers in eval mode, and keep nothing from one call to the next.",
)
def encodes_the_same_twice(subject: Subject) -> None:
    """The same image gives the same pixels and the same features, always."""
    first, second = pixels(subject.encoder), pixels(subject.encoder)
    require(torch.equal(first, second), "`preprocess` gave other pixels for the same image.")
    with torch.no_grad():
        is_same = torch.equal(subject.encoder.encode(first), subject.encoder.encode(first))
    require(is_same, "`encode` gave other features for the same pixels.")


@check(
    "encodes-image-by-image",
    "encoder",
    advice="Let no image influence another: no statistics over the batch (BatchNorm in training mode, normalising over B).",
)
def encodes_image_by_image(subject: Subject) -> None:
    """A batch of three gives what three batches of one give."""
    batch = pixels(subject.encoder)
    with torch.no_grad():
        together, alone = subject.encoder.encode(batch), [subject.encoder.encode(image[None]) for image in batch]
    require(close(together, torch.cat(alone)), "three images gave other features together than one by one.")


@check(
    "is-frozen",
    "encoder",
    advice="Inherit from nn.Module, so that the engine can freeze every part; never switch modes or gradients on again.",
)
def is_frozen(subject: Subject) -> None:
    """Once the engine has frozen it, nothing is trainable, in training mode, or gives gradients."""
    encoder = subject.encoder
    features = encoder.encode(pixels(encoder))
    require(not features.requires_grad, "its features carry gradients.")
    require(not any(p.requires_grad for p in encoder.parameters()), "some parameters are trainable.")
    parts = list(encoder.named_modules()) if isinstance(encoder, nn.Module) else []
    training = [name or "the encoder" for name, part in parts if part.training]
    require(not training, f"in training mode: {', '.join(training[:3])}.")


@check(
    "preprocesses-any-image",
    "encoder",
    advice="Resize and crop whatever comes to one size, and return a float32 tensor (3, H, W).",
)
def preprocesses_any_image(subject: Subject) -> None:
    """Any image, however odd, becomes pixels (3, H, W) float32 of one size."""
    preprocess, sizes = subject.encoder.preprocess, {}
    for what, image in odd_images().items():
        try:
            made = preprocess(image)
        except Exception as err:  # a stranger's transform may raise anything
            require(False, f"`preprocess` of {what} raised {type(err).__name__}: {err}")
        is_right = isinstance(made, Tensor) and made.ndim == 3 and len(made) == 3 and made.dtype == torch.float32
        require(is_right, f"{what} became {shape_of(made)}.")
        require(bool(made.isfinite().all()), f"some pixels of {what} are not finite.")
        sizes[tuple(made.shape)] = what
    found = ", ".join(f"{what} {size}" for size, what in sizes.items())
    require(len(sizes) == 1, f"images became pixels of several sizes: {found}.")


@check(
    "preprocess-pickles",
    "encoder",
    advice="Keep lambdas, open files and locks out of the encoder; define its classes at the top level of a module.",
)
def preprocess_pickles(subject: Subject) -> None:
    """`preprocess` can be sent to another process, and gives the same pixels there."""
    preprocess = subject.encoder.preprocess
    try:
        sent = pickle.loads(pickle.dumps(preprocess))
    except Exception as err:  # pickling calls code of all the parts
        require(False, f"`preprocess` cannot be pickled: {type(err).__name__}: {err}")
    require(torch.equal(sent(noise(1)), preprocess(noise(1))), "once pickled, `preprocess` gives other pixels.")


@check(
    "preprocesses-in-threads",
    "encoder",
    advice="Keep what one call of `preprocess` works with in local variables, not on the encoder.",
)
def preprocesses_in_threads(subject: Subject) -> None:
    """Several threads may call `preprocess` at once."""
    preprocess, images = subject.encoder.preprocess, [noise(seed) for seed in range(8)] * 2
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        at_once = list(pool.map(preprocess, images))
    is_same = all(torch.equal(made, preprocess(image)) for made, image in zip(at_once, images, strict=True))
    require(is_same, "called from several threads, `preprocess` gave other pixels.")


@check(
    "fingerprint-is-stable",
    "encoder",
    advice="Hash weights and preprocessing, and nothing else: no clock, no id(), no memory address in a repr.",
)
def fingerprint_is_stable(subject: Subject) -> None:
    """Two encoders that are built alike have the same fingerprint, which is a string."""
    first, second = subject.encoder.fingerprint(), subject.build().fingerprint()
    require(isinstance(first, str) and bool(first), f"`fingerprint` returned {first!r}.")
    require(first == second, f"built again with the same seed, the fingerprint is {second!r} in place of {first!r}.")


@check(
    "fingerprint-covers-weights",
    "encoder",
    advice="Hash every weight that features depend on, at the time of the call: "
    "weights_fingerprint(self, ...) of capfw.core.protocols. Otherwise old features are served for new weights.",
)
def fingerprint_covers_weights(subject: Subject) -> None:
    """The fingerprint changes with every weight that changes the features."""
    subject.sound()
    encoder = subject.build()  # one that may be spoiled
    images, state = pixels(encoder), _weights(encoder)
    with torch.no_grad():
        features, fingerprint = encoder.encode(images), encoder.fingerprint()
        for name, weight in state.items():
            kept = weight.clone()
            weight.add_(0.5 * torch.sin(torch.arange(weight.numel())).view_as(weight) + 0.1)
            unseen = encoder.fingerprint() == fingerprint
            require(
                not unseen or torch.equal(encoder.encode(images), features),
                f"a change of the weight {name} changes the features, but not the fingerprint.",
            )
            weight.copy_(kept)


def _weights(encoder: Encoder) -> dict[str, Tensor]:
    """Parameters and buffers that are numbers, by name, as they stand in the encoder."""
    if not isinstance(encoder, nn.Module):
        return {str(number): parameter for number, parameter in enumerate(encoder.parameters())}
    return {name: value for name, value in encoder.state_dict(keep_vars=True).items() if value.is_floating_point()}


@check(
    "fingerprint-covers-options",
    "encoder",
    advice="Hash, beside the weights, every option that pixels or features depend on: weights_fingerprint(self, option).",
)
def fingerprint_covers_options(subject: Subject) -> None:
    """The fingerprint changes with every option that changes pixels or features."""
    encoder, example = subject.encoder, subject.component.example
    if subject.changes and subject.config.emitted_features() == example.emitted_features():
        return  # one of the changes the example itself is compared with
    image, fingerprint = noise(1), encoder.fingerprint()
    own = encoder.preprocess(image)
    for name, value in _other_values(subject.config):
        other = Subject(subject.kind, subject.component, subject.plugin, {**subject.changes, name: value})
        try:
            another = other.build()
            theirs = another.preprocess(image)
            with torch.no_grad():
                is_same = torch.equal(theirs, own) and close(another.encode(theirs[None]), encoder.encode(own[None]))
        except Exception:  # values picked blindly need not fit, and what cannot be built cannot be confused
            continue
        require(
            is_same or another.fingerprint() != fingerprint,
            f"with {other.options} pixels or features are others, but the fingerprint is the same.",
        )


def _other_values(config: ComponentConfig) -> Iterator[tuple[str, object]]:
    """Options that list their values, are true or false, or a whole number, each with values it does not have now."""
    for name, option in type(config).model_fields.items():
        now = getattr(config, name)
        others = list(listed_values(option))
        if bool in (option.annotation, *get_args(option.annotation)):
            others += [True, False]
        elif isinstance(now, int) and not isinstance(now, bool):
            others += [2 * now, now + 1]
        yield from ((name, other) for other in others if other != now)
