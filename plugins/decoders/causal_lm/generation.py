"""Generates captions with the method that the options name."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from ....core.protocols import (
    AverageBeamOptions,
    BeamOptions,
    ComponentError,
    GenerateOptions,
    GreedyOptions,
    NucleusOptions,
)
from .sampling import draw, uniform_numbers
from .search import Continued, Limits, average_beam_search, beam_search, continue_rows
from .steps import Context, Steps


def continue_images(
    model: PreTrainedModel, context: Context, options: GenerateOptions, seeds: Tensor, limits: Limits
) -> list[Continued]:
    """Returns `options.num_captions` captions for each row of the context, the most likely first.

    Raises `ComponentError` for an unknown method.
    """
    rows = options.num_beams if isinstance(options, BeamOptions | AverageBeamOptions) else options.num_captions
    steps = Steps(model, context.repeated(rows), use_cache=options.use_cache)
    match options:
        case GreedyOptions():
            return continue_rows(steps, lambda logits, _live, _length: logits.argmax(-1), limits)
        case NucleusOptions(top_p=top_p, temperature=temperature):
            numbers = uniform_numbers(seeds, rows, options.max_tokens).to(context.inputs.device)

            def choose(logits: Tensor, live: Tensor, length: int) -> Tensor:
                return draw(logits, numbers[live, length], top_p=top_p, temperature=temperature)

            return _likeliest_first(continue_rows(steps, choose, limits), rows)
        case BeamOptions(length_penalty=length_penalty):
            captions = beam_search(steps, limits, num_beams=rows, length_penalty=length_penalty)
            return [each for image in captions for each in image[: options.num_captions]]
        case AverageBeamOptions(temperature=temperature):
            captions = average_beam_search(steps, limits, num_beams=rows, temperature=temperature)
            return [each for image in captions for each in image[: options.num_captions]]
    raise ComponentError(f'this decoder has no method "{options.method}".', fix="Use another /generate/method.")


def rows_of_equal_length(mask: Tensor) -> list[tuple[Tensor, int]]:
    """Groups rows by their length under the mask (B, L): the numbers of the rows, and the length."""
    lengths = mask.sum(1)
    return [((lengths == length).nonzero()[:, 0], length) for length in lengths.unique().tolist()]


def _likeliest_first(continued: list[Continued], num_captions: int) -> list[Continued]:
    starts = range(0, len(continued), num_captions)
    return [
        each
        for start in starts
        for each in sorted(continued[start : start + num_captions], key=lambda each: each.log_prob, reverse=True)
    ]
