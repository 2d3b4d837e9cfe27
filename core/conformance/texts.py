"""Checks of decoders: text between the prefix vectors and the caption."""

from __future__ import annotations

import torch

from ..protocols import Decoder, GreedyOptions, Prefix, TokenBatch
from .checks import check, require
from .comparing import close
from .decoders import log_probs, vectors
from .generation import generate
from .subjects import CAPTIONS, Subject

_MAX_TOKENS = 8


def _texts(decoder: Decoder) -> TokenBatch:
    """A text for each caption, of 0, 2 and more tokens, with the invalid id -1 in the padding."""
    rows = decoder.tokenize(CAPTIONS[1:], end=False)
    rows = [[], rows[0][:2], rows[1]]
    length = max(map(len, rows))
    ids = torch.tensor([row + [-1] * (length - len(row)) for row in rows])
    return TokenBatch(ids, ids >= 0)


def _one_by_one(decoder: Decoder) -> list[Prefix]:
    """The vectors of each row with its text, not padded."""
    texts = _texts(decoder)
    return [
        Prefix(row[None], TokenBatch(ids[None, mask], mask[None, mask]) if bool(mask.any()) else None)
        for row, ids, mask in zip(vectors(decoder), texts.ids, texts.mask, strict=True)
    ]


@check(
    "log-probs-after-text",
    "decoder",
    advice="Put each caption directly after its text, without a gap where another row has a longer text (use `pack_rows` "
    "of capfw.core.protocols), and read no padding.",
)
def log_probs_after_text(subject: Subject) -> None:
    """With texts of unequal length, some of them empty, the log-probabilities equal those of each row alone."""
    decoder = subject.decoder
    together = log_probs(decoder, given=Prefix(vectors(decoder), _texts(decoder)))
    alone = [log_probs(decoder, (each,), row)[0] for each, row in zip(CAPTIONS, _one_by_one(decoder), strict=True)]
    is_same = all(close(row[: len(each)], each) for row, each in zip(together, alone, strict=True))
    sums = [round(float(each.sum()), 4) for each in alone]
    require(is_same, f"with texts three captions sum to {together.sum(1).tolist()}; one by one to {sums}.")
    without = log_probs(decoder)
    is_same = close(without[0], together[0])
    require(is_same, "a row without a text has other log-probabilities if other rows have one.")
    require(not close(without[2], together[2]), "a text changes nothing: it is not read.")


@check(
    "generates-after-text",
    "decoder",
    advice="Pad prefix and text on the left, with a mask and positions that begin at 0 in each row, or group rows by "
    "length.",
)
def generates_after_text(subject: Subject) -> None:
    """With texts of unequal length, greedy captions equal those of each row alone, with and without `use_cache`."""
    decoder = subject.decoder
    for use_cache in (True, False):
        options = GreedyOptions(max_tokens=_MAX_TOKENS, use_cache=use_cache)
        together = generate(decoder, options, Prefix(vectors(decoder), _texts(decoder)))
        alone = [generate(decoder, options, row) for row in _one_by_one(decoder)]
        ids, kept = [each.ids[0] for each in alone], "with" if use_cache else "without"
        require(together.ids == ids, f"{kept} a cache, three texts give {together.ids} together, {ids} one by one.")
        is_same = close(together.log_probs, torch.cat([each.log_probs for each in alone]))
        require(is_same, f"{kept} a cache, three texts have other log-probabilities together than one by one.")
