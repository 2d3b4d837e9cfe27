"""Checks of how decoders generate captions."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ComponentError
from ..protocols import (
    AverageBeamOptions,
    BeamOptions,
    Decoder,
    Generated,
    GenerateOptions,
    GreedyOptions,
    NucleusOptions,
    TokenBatch,
)
from .checks import check, require
from .closeness import close, shape_of
from .decoders import prefix
from .subjects import CAPTIONS, Subject
from .surroundings import seeds

_MAX_TOKENS = 8
_GREEDY = GreedyOptions(max_tokens=_MAX_TOKENS)
_METHODS: tuple[GenerateOptions, ...] = (
    _GREEDY,
    NucleusOptions(max_tokens=_MAX_TOKENS, num_captions=2),
    BeamOptions(max_tokens=_MAX_TOKENS, num_beams=3, num_captions=2),
    AverageBeamOptions(max_tokens=_MAX_TOKENS, num_beams=3, num_captions=2),
)


@torch.inference_mode()
def _generate(decoder: Decoder, options: GenerateOptions = _GREEDY, given: Tensor | None = None) -> Generated:
    with seeds(0):
        return decoder.generate(prefix(decoder) if given is None else given, options)


@check(
    "generates-what-is-asked",
    "decoder",
    advice="Return B * num_captions rows of at most `max_tokens` ids, image by image, and log_probs (B * num_captions,) as "
    "float32; raise ComponentError for a method you do not have. Greedy is the default, and must be there.",
)
def generates_what_is_asked(subject: Subject) -> None:
    """Every method it has gives the captions that were asked for, with their log-probabilities."""
    for options in _METHODS:
        try:
            made = _generate(subject.decoder, options)
        except ComponentError as err:
            require(options is not _GREEDY, f"it does not generate greedily: {err}")
            continue
        _require_form(subject.decoder, made, options)


def _require_form(decoder: Decoder, made: Generated, options: GenerateOptions) -> None:
    method, num_rows = f'method "{options.method}"', len(CAPTIONS) * options.num_captions
    require(
        len(made.ids) == num_rows,
        f"{method}: {options.num_captions} captions of {len(CAPTIONS)} images are {len(made.ids)} rows, not {num_rows}.",
    )
    longest = max(map(len, made.ids))
    require(longest <= _MAX_TOKENS, f"{method}: a caption has {longest} tokens; max_tokens was {_MAX_TOKENS}.")
    log_probs = made.log_probs
    is_right = isinstance(log_probs, Tensor) and log_probs.shape == (num_rows,) and log_probs.dtype == torch.float32
    require(is_right, f"{method}: log_probs is {shape_of(log_probs)}, not ({num_rows},) float32.")
    is_possible = bool(log_probs.isfinite().all()) and float(log_probs.max()) <= 1e-4
    require(is_possible, f"{method}: {log_probs.tolist()} are no logarithms of probabilities.")
    texts = decoder.detokenize(made.ids)
    require(all(isinstance(text, str) for text in texts), f"{method}: `detokenize` gives no text for the ids.")


@check(
    "log-probs-are-the-models",
    "decoder",
    advice="Sum the natural-log probabilities the model itself gives the chosen tokens, EOS included, before temperature, "
    "penalties and anything that is ruled out.",
)
def log_probs_are_the_models(subject: Subject) -> None:
    """`log_probs` of a greedy caption is minus its loss under teacher forcing."""
    decoder = subject.decoder
    for row in prefix(decoder):
        made = _generate(decoder, given=row[None])
        ids = torch.tensor([made.ids[0]])
        with torch.no_grad():
            loss, _ = decoder.loss(row[None], TokenBatch(ids, torch.ones_like(ids).bool()))
        said = float(made.log_probs[0])
        require(
            close(-loss, torch.tensor(said)), f"log_probs says {said:.4f}, the loss of the same tokens is {loss:.4f}."
        )


@check(
    "cache-changes-nothing",
    "decoder",
    advice="Keep keys and values of all earlier positions, prefix included, and give new tokens the positions they have "
    "without a cache.",
)
def cache_changes_nothing(subject: Subject) -> None:
    """With and without `use_cache`, greedy captions and their log-probabilities are the same."""
    cached = _generate(subject.decoder)
    plain = _generate(subject.decoder, GreedyOptions(max_tokens=_MAX_TOKENS, use_cache=False))
    require(cached.ids == plain.ids, f"with a cache it generates {cached.ids}, without {plain.ids}.")
    require(close(cached.log_probs, plain.log_probs), "with a cache the log-probabilities are others.")


@check(
    "generates-image-by-image",
    "decoder",
    advice="Let a caption that has ended change no other, and no image influence another.",
)
def generates_image_by_image(subject: Subject) -> None:
    """Greedy captions of three images are those of each image alone."""
    decoder = subject.decoder
    together, given = _generate(decoder), prefix(decoder)
    alone = [_generate(decoder, given=row[None]) for row in given]
    ids = [each.ids[0] for each in alone]
    require(together.ids == ids, f"three images give {together.ids} together, {ids} one by one.")
    is_same = close(together.log_probs, torch.cat([each.log_probs for each in alone]))
    require(is_same, "three images have other log-probabilities together than one by one.")
