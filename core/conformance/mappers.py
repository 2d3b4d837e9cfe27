"""Checks of mappers. B images, N feature tokens of width D, P prefix vectors of the decoder's width E."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..errors import IncompatibleComponents
from ..protocols import FeatureShape, Mapper, MapperConfig, narrowed
from .checks import check, require
from .comparing import close, shape_of
from .subjects import EMBED_DIM, Subject
from .training import as_trained, fresh_seed, require_gradients, save_and_load

_DIM = 16


def features(num_tokens: int, *, batch_size: int = 3, dim: int = _DIM) -> Tensor:
    """Features (B, N, D) float32, always the same."""
    return torch.randn(batch_size, num_tokens, dim, generator=torch.Generator().manual_seed(7))


def _built(subject: Subject, num_tokens: int, *, seed: int = 0, dim: int = _DIM, width: int = EMBED_DIM) -> Mapper:
    subject.sound()
    return cast("Mapper", subject.build(seed, features=FeatureShape(num_tokens, dim), embed_dim=width).train(False))


@check(
    "prefix-as-declared",
    "mapper",
    advice="Return a prefix (B, P, E) as float32, with the given E = `embed_dim` and P = `prefix_length`, for every D and "
    "E, and for pooled features and tokens unless `required_features()` names one of them.",
)
def prefix_as_declared(subject: Subject) -> None:
    """For any widths, the prefix is (B, P, E) float32, finite, with P = `prefix_length`."""
    for num_tokens in subject.token_counts:
        for dim, width in ((_DIM, EMBED_DIM), (24, 2 * EMBED_DIM)):
            mapper = _built(subject, num_tokens, dim=dim, width=width)
            prefix, wanted = mapper(features(num_tokens, dim=dim)), (3, mapper.prefix_length, width)
            is_right = isinstance(prefix, Tensor) and prefix.shape == wanted and prefix.dtype == torch.float32
            require(
                is_right,
                f"features (3, {num_tokens}, {dim}) gave {shape_of(prefix)}, but prefix_length and embed_dim need "
                f"{wanted} float32.",
            )
            require(bool(prefix.isfinite().all()), "some values of the prefix are not finite.")


@check(
    "refuses-tokens",
    "mapper",
    advice='Call features.require_pooled(needed_by="NAME") in the constructor: the features of some encoders are known '
    "only after the build.",
)
def refuses_tokens(subject: Subject) -> None:
    """A mapper that requires pooled features refuses tokens when it is built, with `IncompatibleComponents`."""
    subject.sound()
    if narrowed(subject.config, MapperConfig).required_features() != "pooled":
        return
    try:
        subject.build(features=FeatureShape(num_tokens=4, dim=_DIM))
    except IncompatibleComponents:
        return
    except Exception as err:  # a third party's constructor may raise anything
        require(
            False, f"built for 4 tokens per image, it raised {type(err).__name__}, not IncompatibleComponents: {err}"
        )
    require(False, 'required_features() is "pooled", but it was built for 4 tokens per image.')


@check(
    "maps-the-same-twice",
    "mapper",
    advice="Draw random numbers only in training mode (`self.training`), and keep no state between calls.",
)
def maps_the_same_twice(subject: Subject) -> None:
    """In eval mode the same features give the same prefix."""
    for num_tokens in subject.token_counts:
        mapper, given = _built(subject, num_tokens), features(num_tokens)
        require(torch.equal(mapper(given), mapper(given)), "the same features gave another prefix the second time.")


@check(
    "maps-image-by-image",
    "mapper",
    advice="Compute each image alone: the first dimension is the batch (`batch_first=True`), and no statistics are taken "
    "over it.",
)
def maps_image_by_image(subject: Subject) -> None:
    """A batch of three gives the same prefix as three batches of one."""
    for num_tokens in subject.token_counts:
        mapper, given = _built(subject, num_tokens), features(num_tokens)
        alone = torch.cat([mapper(image[None]) for image in given])
        require(close(mapper(given), alone), "three images gave another prefix together than one by one.")


@check(
    "mapper-learns",
    "mapper",
    advice="Use every parameter in `forward` without detaching, remove unused parameters, and set requires_grad False on "
    "those that must not be trained.",
)
def mapper_learns(subject: Subject) -> None:
    """Gradients reach exactly the trainable parameters."""
    for num_tokens in subject.token_counts:
        mapper = _built(subject, num_tokens)
        as_trained(mapper)
        prefix = mapper(features(num_tokens))
        weights = torch.randn(prefix.shape, generator=torch.Generator().manual_seed(8))
        require(prefix.requires_grad, "the prefix carries no gradients.")
        torch.autograd.backward((prefix * weights).sum())
        require_gradients(cast("nn.Module", mapper))


@check(
    "mapper-is-saved-whole",
    "mapper",
    advice="Keep every value that training changes or that is random in parameters or buffers (register_buffer) that "
    "share no memory.",
)
def mapper_is_saved_whole(subject: Subject) -> None:
    """A new mapper that loads its saved state gives the same prefix."""
    for num_tokens in subject.token_counts:
        mapper, given = _built(subject, num_tokens), features(num_tokens)
        mapper.train(True)(given + 1)  # a module that keeps state in training keeps it now
        as_trained(mapper.train(False))
        fresh = _built(subject, num_tokens, seed=fresh_seed(mapper))
        save_and_load(subject, mapper, fresh)
        require(close(fresh(given), mapper(given)), "a new mapper with the saved state gives another prefix.")
