"""Checks of objectives, with a tiny model in place of mapper and decoder. B rows, T caption tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from ..protocols import Batch, Loss, MemorySource, Objective, Prefix, Sample, TokenBatch
from .checks import check, require
from .comparing import close, shape_of
from .examples import encoded, noise
from .subjects import CAPTIONS, Subject
from .surroundings import seeds
from .tiny_captioner import TinyCaptioner

_WIDTH = 8


def _model() -> TinyCaptioner:
    with seeds(5):
        return TinyCaptioner(_WIDTH)


def _batch(model: TinyCaptioner) -> tuple[Prefix, Batch]:
    """Three rows of different images."""
    generator = torch.Generator().manual_seed(6)
    vectors = torch.randn(len(CAPTIONS), 2, _WIDTH, generator=generator, requires_grad=True)
    samples = [Sample(f"image-{i}", MemorySource(encoded(noise(i))), (text,)) for i, text in enumerate(CAPTIONS)]
    inputs = torch.randn(len(CAPTIONS), 1, 16, generator=generator)
    return Prefix(vectors), Batch(samples, inputs, model.tokenize(CAPTIONS), None, torch.arange(len(CAPTIONS)))


def _row(prefix: Prefix, batch: Batch, i: int) -> tuple[Prefix, Batch]:
    """Row i alone, padded to the width of the batch."""
    tokens = TokenBatch(batch.tokens.ids[i : i + 1], batch.tokens.mask[i : i + 1])
    alone = Batch(batch.samples[i : i + 1], batch.inputs[i : i + 1], tokens, None, batch.seeds[i : i + 1])
    return Prefix(prefix.vectors[i : i + 1]), alone


def _objective(subject: Subject) -> Objective:
    return cast("Objective", subject.sound()).train(True)


def _total(losses: Mapping[str, Loss]) -> Tensor:
    return torch.stack([loss.weight * loss.sum for loss in losses.values()]).sum()


@check(
    "losses-as-declared",
    "objective",
    advice='Return {"name": Loss(sum, per="token" or "row")} with a scalar sum; `rows` is "captions" or "images".',
)
def losses_as_declared(subject: Subject) -> None:
    """The losses have names, finite scalar sums, a unit and a weight, and one weight at least is not 0."""
    objective, model = _objective(subject), _model()
    require(objective.rows in ("captions", "images"), f'rows is {objective.rows!r}, not "captions" or "images".')
    require(isinstance(objective.is_row_wise, bool), f"is_row_wise is {objective.is_row_wise!r}.")
    losses = objective(model, *_batch(model))
    require(isinstance(losses, Mapping) and bool(losses), f"it returned {losses!r:.60}, not losses by name.")
    for name, loss in losses.items():
        require(isinstance(loss, Loss), f"{name} is a {type(loss).__name__}, not a Loss.")
        is_scalar = isinstance(loss.sum, Tensor) and loss.sum.shape == ()
        require(
            is_scalar and bool(loss.sum.isfinite()), f"the sum of {name} is {shape_of(loss.sum)}, not a finite scalar."
        )
        require(loss.per in ("token", "row"), f'{name} is per {loss.per!r}, not "token" or "row".')
        require(math.isfinite(loss.weight), f"the weight of {name} is {loss.weight}.")
    require(
        any(loss.weight for loss in losses.values()), "every loss has the weight 0, so there is nothing to minimise."
    )


@check(
    "objective-reaches-the-model",
    "objective",
    advice="Compute the losses from `model.log_probs` or `model.weighted_nll` without detaching; only `generate` has no "
    "gradients.",
)
def objective_reaches_the_model(subject: Subject) -> None:
    """Gradients of the weighted losses reach the model and the prefix."""
    model = _model()
    prefix, batch = _batch(model)
    total = _total(_objective(subject)(model, prefix, batch))
    require(total.requires_grad, "the losses carry no gradients.")
    torch.autograd.backward(total)
    reached = any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    require(reached, "no gradient reaches the model.")
    require(prefix.vectors.grad is not None, "no gradient reaches the prefix, so the mapper cannot learn.")


@check(
    "objective-goes-row-by-row",
    "objective",
    advice="Return sums over the rows, not means, compute each row alone, and sample with `batch.seeds`. Or set "
    "`is_row_wise` to False; the engine then refuses gradient accumulation.",
)
def objective_goes_row_by_row(subject: Subject) -> None:
    """If `is_row_wise`, the losses of three rows are the sums of the losses of each row."""
    objective, model = _objective(subject), _model()
    if not objective.is_row_wise:
        return
    prefix, batch = _batch(model)
    with seeds(1):
        together = objective(model, prefix, batch)
    with seeds(2):  # numbers from a shared generator differ from one micro-batch to another
        alone = [objective(model, *_row(prefix, batch, i)) for i in range(len(CAPTIONS))]
    for name, loss in together.items():
        total = torch.stack([each[name].sum for each in alone]).sum()
        require(
            close(loss.sum, total),
            f"{name} of three rows is {float(loss.sum.detach()):.5g}; their losses one by one add up to "
            f"{float(total.detach()):.5g}.",
        )


@check(
    "objective-ignores-padding",
    "objective",
    advice="Read `batch.tokens.ids` only where `batch.tokens.mask` is True.",
)
def objective_ignores_padding(subject: Subject) -> None:
    """Ids where the mask is False change no loss."""
    objective, model = _objective(subject), _model()
    prefix, batch = _batch(model)
    other = TokenBatch(torch.where(batch.tokens.mask, batch.tokens.ids, 3), batch.tokens.mask)
    with seeds(1):
        losses = objective(model, prefix, batch)
    with seeds(1):
        again = objective(model, prefix, replace(batch, tokens=other))
    differing = [name for name, loss in losses.items() if not close(loss.sum, again[name].sum)]
    require(not differing, f"with other padding, the same captions have another {', '.join(differing)}.")
