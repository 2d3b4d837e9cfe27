"""Checks of decoders: generation of captions."""

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
    Prefix,
    TokenBatch,
)
from .checks import check, require
from .comparing import close, shape_of
from .decoders import vectors
from .subjects import CAPTIONS, NotChecked, Subject
from .surroundings import random_states

_MAX_TOKENS = 8
_GREEDY = GreedyOptions(max_tokens=_MAX_TOKENS)
_METHODS: tuple[GenerateOptions, ...] = (
    _GREEDY,
    NucleusOptions(max_tokens=_MAX_TOKENS, num_captions=2),
    BeamOptions(max_tokens=_MAX_TOKENS, num_beams=3, num_captions=2),
    AverageBeamOptions(max_tokens=_MAX_TOKENS, num_beams=3, num_captions=2),
)


@torch.inference_mode()
def generate(decoder: Decoder, options: GenerateOptions = _GREEDY, given: Prefix | None = None) -> Generated:
    """The captions that the decoder generates from the seeds 0, 1, 2, ..."""
    given = given or Prefix(vectors(decoder))
    return decoder.generate(given, options, torch.arange(len(given.vectors)))


@check(
    "generates-what-is-asked",
    "decoder",
    advice="Return B * num_captions rows of at most `max_tokens` ids, image by image, and log_probs (B * num_captions,) as "
    "float32; raise ComponentError for a method you do not have. Greedy is the default, and must be there.",
)
def generates_what_is_asked(subject: Subject) -> None:
    """Every method of the decoder returns the requested captions with their log-probabilities."""
    for options in _METHODS:
        try:
            made = generate(subject.decoder, options)
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
    require(is_possible, f"{method}: {log_probs.tolist()} are not logarithms of probabilities.")
    texts = decoder.detokenize(made.ids)
    require(all(isinstance(text, str) for text in texts), f"{method}: `detokenize` does not return text for the ids.")


@check(
    "log-probs-are-the-models",
    "decoder",
    advice="Sum the natural-log probabilities of the chosen tokens under the model, EOS included, before temperature, "
    "penalties and excluded tokens.",
)
def log_probs_are_the_models(subject: Subject) -> None:
    """The log-probability of a greedy caption is the sum of its tokens' log-probabilities under teacher forcing."""
    decoder = subject.decoder
    for row in vectors(decoder):
        given = Prefix(row[None])
        made = generate(decoder, given=given)
        ids = torch.tensor([made.ids[0]])
        with torch.no_grad():
            expected = decoder.log_probs(given, TokenBatch(ids, torch.ones_like(ids).bool())).sum()
        reported = made.log_probs[0]
        require(
            close(expected, reported),
            f"`generate` reports {float(reported):.4f}; `log_probs` of the same tokens sum to {float(expected):.4f}.",
        )


@check(
    "cache-changes-nothing",
    "decoder",
    advice="Keep the keys and values of all earlier positions, prefix included, and give new tokens the same positions as "
    "without a cache.",
)
def cache_changes_nothing(subject: Subject) -> None:
    """With and without `use_cache`, greedy captions and their log-probabilities are the same."""
    cached = generate(subject.decoder)
    plain = generate(subject.decoder, GreedyOptions(max_tokens=_MAX_TOKENS, use_cache=False))
    require(cached.ids == plain.ids, f"with a cache it generates {cached.ids}, without {plain.ids}.")
    require(close(cached.log_probs, plain.log_probs), "with a cache, the log-probabilities differ.")


@check(
    "generates-image-by-image",
    "decoder",
    advice="Generate each image alone: a caption that has ended must not change another.",
)
def generates_image_by_image(subject: Subject) -> None:
    """Greedy captions of three images equal those of each image alone."""
    decoder = subject.decoder
    together = generate(decoder)
    alone = [generate(decoder, given=Prefix(row[None])) for row in vectors(decoder)]
    ids = [each.ids[0] for each in alone]
    require(together.ids == ids, f"three images give {together.ids} together, {ids} one by one.")
    is_same = close(together.log_probs, torch.cat([each.log_probs for each in alone]))
    require(is_same, "three images have other log-probabilities together than one by one.")


@check(
    "draws-from-its-seeds",
    "decoder",
    advice="Draw the random numbers of row i from its own torch.Generator, seeded with seeds[i], in an order that does "
    "not depend on the other rows; use no global generator. Greedy and beam search draw no random numbers.",
)
def draws_from_its_seeds(subject: Subject) -> None:
    """Sampled captions depend only on their row and its seed, and use no global generator."""
    decoder, given = subject.decoder, vectors(subject.decoder)
    options = NucleusOptions(max_tokens=_MAX_TOKENS, top_p=1.0, num_captions=3)
    seeds = torch.tensor([11, 2**62 + 1, 5])
    before = random_states()
    try:
        together = _sample(decoder, given, options, seeds)
    except ComponentError as err:
        raise NotChecked(f"it does not sample: {err}") from err
    changed = [name for name, state in random_states().items() if state != before[name]]
    require(not changed, f"generating changed the global random numbers of {', '.join(changed)}.")
    alone = [_sample(decoder, row[None], options, seed[None])[0] for row, seed in zip(given, seeds, strict=True)]
    for with_others, own in zip(together, alone, strict=True):
        require(with_others == own, f"an image gives {with_others} with others, but {own} alone.")
    equal = given[:1].expand_as(given)
    drawn = _sample(decoder, equal, options, torch.arange(3))
    require(drawn[0] != drawn[1] or drawn[1] != drawn[2], f"three seeds give {drawn[0]} for one image, every time.")
    found = [_sample(decoder, given, _GREEDY, each) for each in (seeds, seeds + 1)]
    require(found[0] == found[1], "greedy captions depend on the seeds.")


@torch.inference_mode()
def _sample(decoder: Decoder, given: Tensor, options: GenerateOptions, seeds: Tensor) -> list[list[list[int]]]:
    """The ids of the captions of each image."""
    ids, count = decoder.generate(Prefix(given), options, seeds).ids, options.num_captions
    return [ids[start : start + count] for start in range(0, len(ids), count)]
