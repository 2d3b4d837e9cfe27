"""Checks of how decoders read and learn. B captions, P prefix vectors of width E, T caption tokens."""

from __future__ import annotations

import shutil
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.batches import Captions
from ..protocols import Decoder, Sample, TokenBatch
from .checks import check, require
from .closeness import close, shape_of
from .subjects import CAPTIONS, Subject
from .training import as_trained, fresh_seed, require_gradients, save_and_load

PREFIX_LENGTH = 2
_MOST_POSITIONS = 4096  # that are filled; attention over some 100,000 would take all memory there is


def prefix(decoder: Decoder, *, batch_size: int = len(CAPTIONS), length: int = PREFIX_LENGTH) -> Tensor:
    """A prefix (B, P, E) float32, always the same."""
    return torch.randn(batch_size, length, decoder.embed_dim, generator=torch.Generator().manual_seed(5))


def tokens(decoder: Decoder, captions: tuple[str, ...] = CAPTIONS) -> TokenBatch:
    """Captions as the engine batches them."""
    samples = [Sample(number, b"", (caption,)) for number, caption in enumerate(captions)]
    batched = Captions(samples, decoder, max_tokens=64)
    return batched.tokens(np.arange(len(captions), dtype=np.int64), torch.device("cpu"))


@torch.no_grad()
def _loss(decoder: Decoder, captions: tuple[str, ...] = CAPTIONS, given: Tensor | None = None) -> Tensor:
    return decoder.loss(prefix(decoder) if given is None else given, tokens(decoder, captions))[0]


@check(
    "sizes-hold",
    "decoder",
    advice="Let `embed_dim` be the width of the prefix, and `max_positions` the most prefix and caption tokens together "
    "that `loss` can read; None when there is no limit.",
)
def sizes_hold(subject: Subject) -> None:
    """A prefix of width `embed_dim` and a caption that together fill `max_positions` (4096 at most) can be read."""
    decoder = subject.decoder
    width, most = decoder.embed_dim, decoder.max_positions
    require(isinstance(width, int) and width > 0, f"embed_dim is {width!r}.")
    require(most is None or (isinstance(most, int) and most > PREFIX_LENGTH), f"max_positions is {most!r}.")
    ids = decoder.tokenize(CAPTIONS)[0]
    num_tokens = 64 if most is None else min(most, _MOST_POSITIONS) - PREFIX_LENGTH
    filled = torch.tensor([(ids * num_tokens)[:num_tokens]])  # (1, T)
    with torch.no_grad():
        total, _ = decoder.loss(prefix(decoder, batch_size=1), TokenBatch(filled, torch.ones_like(filled).bool()))
    require(bool(total.isfinite()), f"the loss of {PREFIX_LENGTH} + {num_tokens} positions is {float(total)}.")


@check(
    "tokenizes-to-the-end",
    "decoder",
    advice="Return a list of ids per caption with EOS at the end: not padded, not cut, no tensor. EOS is learned as any "
    "token is.",
)
def tokenizes_to_the_end(subject: Subject) -> None:
    """`tokenize` gives lists of ids of their own lengths that end with EOS."""
    decoder = subject.decoder
    rows = decoder.tokenize(CAPTIONS)
    is_right = isinstance(rows, list) and all(isinstance(row, list) and row for row in rows)
    require(is_right and all(type(i) is int for row in rows for i in row), "`tokenize` gives no lists of int.")
    require([decoder.tokenize([each])[0] for each in CAPTIONS] == rows, "a caption has other ids in company.")
    ends = sorted({row[-1] for row in rows})
    require(len(ends) == 1, f"the captions end with different tokens, {ends}, none of which can be EOS.")
    require(all(ends[0] not in row[:-1] for row in rows), f"{ends[0]} stands last, and also before.")


@check(
    "reads-its-own-tokens",
    "decoder",
    advice="Leave EOS and other special tokens out of `detokenize`, join the rest as they were, and strip white space.",
)
def reads_its_own_tokens(subject: Subject) -> None:
    """`detokenize` gives back the captions that `tokenize` was given."""
    again = subject.decoder.detokenize(subject.decoder.tokenize(CAPTIONS))
    require(list(again) == list(CAPTIONS), f"{list(CAPTIONS)} came back as {list(again)}.")


@check(
    "loss-is-a-sum",
    "decoder",
    advice="Return the cross entropy summed over the tokens under the mask, not its mean, and `mask.sum()`; the engine "
    "divides once per step.",
)
def loss_is_a_sum(subject: Subject) -> None:
    """`loss` gives a finite sum over the tokens under the mask, and their number."""
    decoder = subject.decoder
    with torch.no_grad():
        total, count = decoder.loss(prefix(decoder), tokens(decoder))
    for name, value in (("sum", total), ("count", count)):
        require(isinstance(value, Tensor) and value.ndim == 0, f"the {name} is {shape_of(value)}, not a scalar tensor.")
    expected = int(tokens(decoder).mask.sum())
    require(int(count) == expected, f"it counted {int(count)} tokens; under the mask are {expected}.")
    require(bool(total.isfinite()) and float(total) > 0, f"the summed loss is {float(total)}.")
    twice = _loss(decoder, CAPTIONS * 2, prefix(decoder).repeat(2, 1, 1))
    require(close(twice, 2 * total), f"the same captions twice gave {float(twice):.4f}, not twice {float(total):.4f}.")


@check(
    "loss-ignores-padding",
    "decoder",
    advice="Take targets under the mask alone, and let no position attend to what stands under False.",
)
def loss_ignores_padding(subject: Subject) -> None:
    """Whatever stands in the padding, and however much of it, the loss is the same."""
    decoder, batch = subject.decoder, tokens(subject.decoder)
    plain = _loss(decoder)
    longer = torch.cat([batch.ids, batch.ids[:, :3]], dim=1)  # (B, T + 3)
    mask = torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :3])], dim=1)
    other = torch.where(mask, longer, batch.ids[0, 0])
    with torch.no_grad():
        found = [float(decoder.loss(prefix(decoder), TokenBatch(ids, mask))[0]) for ids in (longer, other)]
    is_same = all(close(torch.tensor(each), plain) for each in found)
    require(is_same, f"the loss is {float(plain):.4f}, and with other padding {found[0]:.4f} and {found[1]:.4f}.")


@check(
    "loss-goes-row-by-row",
    "decoder",
    advice="Let no caption influence another, whatever their order: no statistics over the batch, no shared state.",
)
def loss_goes_row_by_row(subject: Subject) -> None:
    """The loss of three captions is the sum of their own losses, in any order."""
    decoder, given = subject.decoder, prefix(subject.decoder)
    together = _loss(decoder)
    alone = sum(_loss(decoder, (each,), row[None]) for each, row in zip(CAPTIONS, given, strict=True))
    turned = _loss(decoder, CAPTIONS[::-1], given.flip(0))
    require(
        close(together, torch.as_tensor(alone)),
        f"three captions: {float(together):.4f}; one by one: {float(alone):.4f}.",
    )
    require(close(together, turned), f"in another order the loss is {float(turned):.4f}, not {float(together):.4f}.")


@check(
    "decoder-learns",
    "decoder",
    advice="Do not detach the prefix or run under no_grad in `loss`; use every parameter, and set requires_grad False on "
    "those that shall not be trained.",
)
def decoder_learns(subject: Subject) -> None:
    """Gradients reach the whole prefix and exactly the trainable parameters."""
    subject.sound()
    decoder = cast("Decoder", subject.build().train(False))
    as_trained(decoder)
    given = prefix(decoder).requires_grad_()
    total, _ = decoder.loss(given, tokens(decoder))
    require(total.requires_grad, "the loss carries no gradients.")
    torch.autograd.backward(total)
    reached = given.grad is not None and bool(given.grad.abs().sum(-1).all())
    require(reached, "no gradient reaches some vectors of the prefix, so that no mapper can learn.")
    require_gradients(cast("nn.Module", decoder))


@check(
    "frozen-stays-in-eval",
    "decoder",
    advice="Override `train` so that what is frozen stays in eval mode: dropout in a frozen model is noise, no regulariser.",
)
def frozen_stays_in_eval(subject: Subject) -> None:
    """With nothing to train, the loss is the same in training mode as in eval mode."""
    decoder = subject.decoder
    if any(parameter.requires_grad for parameter in decoder.parameters()):
        return
    plain = _loss(decoder)
    in_training = [_loss(decoder.train(True)) for _ in range(3)]
    decoder.train(False)
    require(
        all(close(each, plain) for each in in_training), "nothing is trainable, yet training mode changes the loss."
    )


@check(
    "decoder-is-saved-whole",
    "decoder",
    advice="Keep all that training changes, and all that is random, in parameters or buffers (register_buffer).",
)
def decoder_is_saved_whole(subject: Subject) -> None:
    """Its trainable state, saved and loaded into a fresh one, gives the same loss."""
    subject.sound()
    decoder = cast("Decoder", subject.build())
    _loss(decoder.train(True))  # whatever is kept from training is kept now
    as_trained(decoder.train(False))
    fresh = cast("Decoder", subject.build(fresh_seed(decoder)).train(False))
    save_and_load(subject, decoder, fresh)
    require(close(_loss(fresh), _loss(decoder)), "a fresh decoder with the saved state gives another loss.")


@check(
    "rebuilds-from-assets",
    "decoder",
    advice="Write into `assets`, in `prepare`, all that is learned from captions or needed to build again; keep nothing on "
    "the class or in the module.",
)
def rebuilds_from_assets(subject: Subject) -> None:
    """From its assets alone, wherever they lie now, the decoder is built again as it was."""
    decoder = subject.decoder
    moved = subject.folder("moved")
    shutil.copytree(subject.assets, moved, dirs_exist_ok=True)
    subject.prepare(("something else was learned in between",))
    again = cast("Decoder", subject.build(assets=moved).train(False))
    require(again.tokenize(CAPTIONS) == decoder.tokenize(CAPTIONS), "built again, it tokenizes captions differently.")
    require(close(_loss(again), _loss(decoder)), "built again with the same seed, it has another loss.")
