"""Checks of decoders: reading and learning. B captions, P prefix vectors of width E, T caption tokens."""

from __future__ import annotations

import shutil
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.inputs.captions import Captions
from ..protocols import Decoder, HasWeightedNll, MemorySource, Prefix, Sample, TokenBatch
from .checks import check, require
from .comparing import close, shape_of
from .subjects import CAPTIONS, NotChecked, Subject
from .training import as_trained, fresh_seed, require_gradients, save_and_load

PREFIX_LENGTH = 2
_MOST_POSITIONS = 4096  # the most that a check fills; attention over some 100,000 would exhaust the memory


def vectors(decoder: Decoder, *, batch_size: int = len(CAPTIONS), length: int = PREFIX_LENGTH) -> Tensor:
    """Prefix vectors (B, P, E) float32, always the same."""
    return torch.randn(batch_size, length, decoder.embed_dim, generator=torch.Generator().manual_seed(5))


def tokens(decoder: Decoder, captions: tuple[str, ...] = CAPTIONS) -> TokenBatch:
    """Captions as the engine batches them."""
    samples = [Sample(number, MemorySource(b""), (caption,)) for number, caption in enumerate(captions)]
    batched = Captions(samples, decoder, max_tokens=64)
    return batched.tokens(np.arange(len(captions), dtype=np.int64), torch.device("cpu"))


@torch.no_grad()
def log_probs(decoder: Decoder, captions: tuple[str, ...] = CAPTIONS, given: Prefix | None = None) -> Tensor:
    """The decoder's log-probabilities (B, T) of the captions."""
    return decoder.log_probs(given or Prefix(vectors(decoder)), tokens(decoder, captions))


@check(
    "sizes-hold",
    "decoder",
    advice="Return the width of the prefix from `embed_dim`, and from `max_positions` the most prefix vectors and tokens "
    "together that `log_probs` can read; None when there is no limit.",
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
    given = Prefix(vectors(decoder, batch_size=1))
    with torch.no_grad():
        total = decoder.log_probs(given, TokenBatch(filled, torch.ones_like(filled).bool())).sum()
    require(bool(total.isfinite()), f"log_probs of {PREFIX_LENGTH} + {num_tokens} positions sum to {float(total)}.")


@check(
    "tokenizes-to-the-end",
    "decoder",
    advice="Return a list of ids per caption: not padded, not truncated, not a tensor; with EOS at the end, which is "
    "learned like any token, unless `end` is False.",
)
def tokenizes_to_the_end(subject: Subject) -> None:
    """`tokenize` gives lists of ids of their own lengths that end with EOS, or without it where `end` is False."""
    decoder = subject.decoder
    rows = decoder.tokenize(CAPTIONS)
    is_right = isinstance(rows, list) and all(isinstance(row, list) and row for row in rows)
    require(is_right and all(type(i) is int for row in rows for i in row), "`tokenize` gives no lists of int.")
    require(
        [decoder.tokenize([each])[0] for each in CAPTIONS] == rows, "a caption has other ids alone than with others."
    )
    ends = sorted({row[-1] for row in rows})
    require(len(ends) == 1, f"the captions end with different tokens, {ends}, none of which can be EOS.")
    require(all(ends[0] not in row[:-1] for row in rows), f"{ends[0]} is the last token, and also an earlier one.")
    texts = decoder.tokenize(CAPTIONS, end=False)
    require(texts == [row[:-1] for row in rows], f"with end=False the ids are {texts[0]}, not {rows[0][:-1]}.")


@check(
    "reads-its-own-tokens",
    "decoder",
    advice="Leave EOS and other special tokens out in `detokenize`, join the rest as before, and strip white space.",
)
def reads_its_own_tokens(subject: Subject) -> None:
    """`detokenize` restores the captions from the ids of `tokenize`."""
    again = subject.decoder.detokenize(subject.decoder.tokenize(CAPTIONS))
    require(list(again) == list(CAPTIONS), f"{list(CAPTIONS)} came back as {list(again)}.")


@check(
    "log-probs-as-declared",
    "decoder",
    advice="Return the natural-log probability of each token, (B, T) float32: at most 0, and 0 where the mask is False.",
)
def log_probs_as_declared(subject: Subject) -> None:
    """`log_probs` gives logarithms of probabilities where the mask is True, and 0 elsewhere."""
    batch, found = tokens(subject.decoder), log_probs(subject.decoder)
    shape = tuple(batch.ids.shape)
    is_right = isinstance(found, Tensor) and found.shape == shape and found.dtype == torch.float32
    require(is_right, f"log_probs is {shape_of(found)}, not {shape} float32.")
    is_possible = bool(found.isfinite().all()) and float(found.max()) <= 1e-4 and float(found.min()) < 0
    require(is_possible, f"{found[0].tolist()} are not logarithms of probabilities.")
    padding = found[~batch.mask]
    require(not padding.any(), f"where the mask is False, it is {float(padding.abs().max()):.4f}, not 0.")


@check(
    "log-probs-ignore-padding",
    "decoder",
    advice="Mask the padding: no position may attend to a position where the mask is False.",
)
def log_probs_ignore_padding(subject: Subject) -> None:
    """The log-probabilities do not depend on the ids or the length of the padding."""
    decoder, batch = subject.decoder, tokens(subject.decoder)
    plain, num_tokens = log_probs(decoder), batch.ids.shape[1]
    longer = torch.cat([batch.ids, batch.ids[:, :3]], dim=1)  # (B, T + 3)
    mask = torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :3])], dim=1)
    other = torch.where(mask, longer, batch.ids[0, 0])
    with torch.no_grad():
        found = [decoder.log_probs(Prefix(vectors(decoder)), TokenBatch(ids, mask)) for ids in (longer, other)]
    sums = [float(each.sum()) for each in (plain, *found)]
    is_same = all(close(each[:, :num_tokens], plain) for each in found)
    require(is_same, f"log_probs sum to {sums[0]:.4f}, and with other padding to {sums[1]:.4f} and {sums[2]:.4f}.")


@check(
    "log-probs-go-row-by-row",
    "decoder",
    advice="Compute each caption alone, in any order: no statistics over the batch, no shared state.",
)
def log_probs_go_row_by_row(subject: Subject) -> None:
    """The log-probabilities of three captions equal those of each alone, in any order."""
    decoder, given = subject.decoder, vectors(subject.decoder)
    together, mask = log_probs(decoder), tokens(decoder).mask
    alone = [log_probs(decoder, (each,), Prefix(row[None]))[0] for each, row in zip(CAPTIONS, given, strict=True)]
    is_same = all(close(row[: len(each)], each) for row, each in zip(together, alone, strict=True))
    sums = [round(float(each.sum()), 4) for each in alone]
    require(is_same, f"three captions sum to {together.sum(1).tolist()}; one by one to {sums}.")
    turned = log_probs(decoder, CAPTIONS[::-1], Prefix(given.flip(0))).flip(0)
    require(close(turned[mask], together[mask]), "in another order, the log-probabilities differ.")


@check(
    "weighted-nll-is-that-of-log-probs",
    "decoder",
    advice="Multiply each token's negative log-probability by its weight, which may be 0 or negative, and return the "
    "sum, not a mean, without tokens where the mask is False. Or leave `weighted_nll` out.",
)
def weighted_nll_is_that_of_log_probs(subject: Subject) -> None:
    """`weighted_nll` is `-(weights * log_probs).sum()`, in value and in gradient."""
    decoder = subject.decoder
    if not isinstance(decoder, HasWeightedNll):
        raise NotChecked("it has no `weighted_nll`, which is optional.")
    batch = tokens(decoder)
    weights = torch.randn(batch.ids.shape, generator=torch.Generator().manual_seed(7))  # (B, T), also on padding
    given, again = vectors(decoder).requires_grad_(), vectors(decoder).requires_grad_()
    found = decoder.weighted_nll(Prefix(given), batch, weights)
    expected = -(weights * decoder.log_probs(Prefix(again), batch)).sum()
    require(isinstance(found, Tensor) and found.ndim == 0, f"it is {shape_of(found)}, not a scalar tensor.")
    value, wanted = found.detach(), expected.detach()
    require(close(value, wanted), f"it is {float(value):.4f}, but log_probs give {float(wanted):.4f}.")
    gradients = [torch.autograd.grad(value, leaf)[0] for value, leaf in ((found, given), (expected, again))]
    require(close(*gradients), "its gradient at the prefix vectors differs from that of log_probs.")


@check(
    "decoder-learns",
    "decoder",
    advice="Do not detach the prefix or run under no_grad in `log_probs`; use every parameter, and set requires_grad False "
    "on those that cannot be trained.",
)
def decoder_learns(subject: Subject) -> None:
    """Gradients reach the whole prefix and exactly the trainable parameters."""
    subject.sound()
    decoder = cast("Decoder", subject.build().train(False))
    as_trained(decoder)
    given = vectors(decoder).requires_grad_()
    total = decoder.log_probs(Prefix(given), tokens(decoder)).sum()
    require(total.requires_grad, "log_probs carry no gradients.")
    torch.autograd.backward(total)
    reached = given.grad is not None and bool(given.grad.abs().sum(-1).all())
    require(reached, "no gradient reaches some vectors of the prefix, so no mapper can learn.")
    require_gradients(cast("nn.Module", decoder))


@check(
    "decoder-is-saved-whole",
    "decoder",
    advice="Keep every value that training changes or that is random in parameters or buffers (register_buffer).",
)
def decoder_is_saved_whole(subject: Subject) -> None:
    """A new decoder that loads its saved state gives the same log-probabilities."""
    subject.sound()
    decoder = cast("Decoder", subject.build())
    log_probs(decoder.train(True))  # a module that keeps state in training keeps it now
    as_trained(decoder.train(False))
    fresh = cast("Decoder", subject.build(fresh_seed(decoder)).train(False))
    save_and_load(subject, decoder, fresh)
    is_same = close(log_probs(fresh), log_probs(decoder))
    require(is_same, "a new decoder with the saved state gives other log-probabilities.")


@check(
    "rebuilds-from-assets",
    "decoder",
    advice="In `prepare`, write into `assets` everything that is learned from captions or needed for another build; keep "
    "nothing on the class or in the module.",
)
def rebuilds_from_assets(subject: Subject) -> None:
    """A decoder that is built again from its assets alone, in another folder, is the same."""
    decoder = subject.decoder
    moved = subject.folder("moved")
    shutil.copytree(subject.assets, moved, dirs_exist_ok=True)
    subject.prepare(("something else was learned in between",))
    again = cast("Decoder", subject.build(assets=moved).train(False))
    is_same = again.tokenize(CAPTIONS) == decoder.tokenize(CAPTIONS)
    require(is_same, "after another build, it tokenizes captions differently.")
    is_same = close(log_probs(again), log_probs(decoder))
    require(is_same, "after another build with the same seed, it gives other log-probabilities.")
