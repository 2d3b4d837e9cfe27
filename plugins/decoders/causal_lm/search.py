"""Continues prefixes token by token: greedy, nucleus, beam search, and ClipCap's beam search.

transformers' own `generate` cannot do two things that these loops do: run on embeddings without a cache of keys and
values, and report the model's own log-probabilities without keeping the logits of every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .steps import Steps

# Returns the next token (live,), given the logits (live, V), the numbers of the live rows, and their length so far.
Choose: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Limits:
    """The end of a caption, at the token `stop_id` or after `max_tokens`; `suppressed` tokens are never chosen."""

    stop_id: int
    max_tokens: int
    suppressed: tuple[int, ...] = ()

    def allowed(self, scores: Tensor) -> Tensor:
        """Returns scores (..., V) with minus infinity for suppressed tokens."""
        if not self.suppressed:
            return scores
        return scores.index_fill(-1, torch.tensor(self.suppressed, device=scores.device), -torch.inf)


@dataclass(frozen=True)
class Continued:
    """One caption: its ids, their log-probability under the model, and the score that ranks it."""

    ids: list[int]
    log_prob: float
    score: float


def continue_rows(steps: Steps, choose: Choose, limits: Limits) -> list[Continued]:
    """Adds the token that `choose` picks to every row, step by step; finished rows leave the batch."""
    logits = steps.logits()
    ids = torch.full((len(logits), limits.max_tokens), limits.stop_id, device=logits.device)
    log_probs = logits.new_zeros(len(logits))
    live = torch.arange(len(logits), device=logits.device)
    for length in range(limits.max_tokens):
        if length > 0:
            logits = steps.logits()
        chosen = choose(limits.allowed(logits), live, length)  # (live rows,)
        ids[live, length] = chosen
        log_probs[live] += logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        goes_on = chosen != limits.stop_id
        live = live[goes_on]
        if not len(live):
            break
        steps.extend(chosen[goes_on], None if bool(goes_on.all()) else goes_on.nonzero()[:, 0])
    return [
        Continued(_up_to(row, limits.stop_id), log_prob, log_prob)
        for row, log_prob in zip(ids.tolist(), log_probs.tolist(), strict=True)
    ]


def beam_search(steps: Steps, limits: Limits, *, num_beams: int, length_penalty: float) -> list[list[Continued]]:
    """Returns the captions of each image, best first. `steps` begins with `num_beams` equal rows per image.

    A caption that ends among the best `num_beams` is finished. Its score is log-probability / length ** length_penalty.
    An image is done when it has `num_beams` finished captions and its best open beam scores no better than the worst.
    """
    logits = steps.logits()
    vocabulary = logits.shape[-1]
    num_images = len(logits) // num_beams
    finished: list[list[Continued]] = [[] for _ in range(num_images)]
    live = list(range(num_images))  # images that are not done
    totals = logits.new_full((num_images, num_beams), -torch.inf)
    totals[:, 0] = 0.0  # the rows are equal: the first tokens continue only one of them
    ids = torch.empty(num_images, num_beams, 0, dtype=torch.int64, device=logits.device)
    for length in range(1, limits.max_tokens + 1):
        if length > 1:
            logits = steps.logits()
        log_probs = limits.allowed(logits.log_softmax(-1)).view(len(live), num_beams, vocabulary)
        # Twice as many candidates as beams: at least `num_beams` of them do not end.
        count = min(2 * num_beams, num_beams * vocabulary)
        best, places = (totals[..., None] + log_probs).flatten(1).topk(count)  # (live, count)
        sources, tokens = places // vocabulary, places % vocabulary
        ids = torch.cat([_take(ids, sources), tokens[..., None]], dim=-1)  # (live, count, length)
        ends = (tokens == limits.stop_id) | (length == limits.max_tokens)
        totals, kept = best.masked_fill(ends, -torch.inf).topk(num_beams)  # (live, num_beams)
        divisor = length**length_penalty
        _finish(finished, live, ids[:, :num_beams], best[:, :num_beams], ends[:, :num_beams], divisor)
        going = [
            row
            for row, (image, open_total) in enumerate(zip(live, totals[:, 0].tolist(), strict=True))
            if len(finished[image]) < num_beams or open_total / divisor > finished[image][-1].score
        ]
        if not going or length == limits.max_tokens:
            break
        rows = torch.tensor(going, device=ids.device)
        live, totals, kept = [live[row] for row in going], totals[rows], kept[rows]
        ids = _take(ids[rows], kept)
        origins = rows[:, None] * num_beams + _take(sources[rows], kept)  # rows of the model, (live, num_beams)
        steps.extend(_take(tokens[rows], kept).flatten(), origins.flatten())
    return finished


def _finish(
    finished: list[list[Continued]], live: list[int], ids: Tensor, totals: Tensor, ends: Tensor, divisor: float
) -> None:
    """Adds the captions that end to each image's finished ones, and keeps the best `num_beams`, best first."""
    num_beams = ids.shape[1]
    rows = zip(live, ids.tolist(), totals.tolist(), ends.tolist(), strict=True)
    for image, captions, log_probs, has_ended in rows:
        for caption, log_prob, is_end in zip(captions, log_probs, has_ended, strict=True):
            if is_end:
                finished[image].append(Continued(caption, log_prob, log_prob / divisor))
        finished[image].sort(key=lambda each: each.score, reverse=True)
        del finished[image][num_beams:]


def average_beam_search(steps: Steps, limits: Limits, *, num_beams: int, temperature: float) -> list[list[Continued]]:
    """Returns the captions of each image, best first, by ClipCap's beam search (`generate_beam` in its predict.py).

    At every step, beams rank by the mean log-probability of their tokens under logits / temperature. A stopped beam
    keeps its place until an open beam beats it. The search ends when every beam has stopped.
    """
    log_probs = steps.logits().log_softmax(-1)
    num_images, vocabulary = len(log_probs) // num_beams, log_probs.shape[-1]
    scaled = limits.allowed((log_probs / temperature).log_softmax(-1)).view(num_images, num_beams, -1)[:, 0]
    totals, tokens = scaled.topk(num_beams)  # (images, num_beams): the rows of an image are still equal
    raw = log_probs.view(num_images, num_beams, -1)[:, 0].gather(1, tokens)
    ids, lengths, is_stopped = tokens[..., None], torch.ones_like(totals), tokens == limits.stop_id
    first_rows = torch.arange(0, num_images * num_beams, num_beams, device=ids.device)[:, None]
    origins = torch.zeros_like(tokens)
    for _ in range(limits.max_tokens - 1):
        if bool(is_stopped.all()):
            break
        steps.extend(tokens.flatten(), (first_rows + origins).flatten())
        log_probs = steps.logits().log_softmax(-1)
        scaled = limits.allowed((log_probs / temperature).log_softmax(-1)).view(num_images, num_beams, -1)
        # A stopped beam continues as itself: token 0 adds nothing to its score.
        scaled = scaled.masked_fill(is_stopped[..., None], -torch.inf)
        scaled[..., 0] = scaled[..., 0].masked_fill(is_stopped, 0.0)
        lengths = lengths + ~is_stopped
        means = (totals[..., None] + scaled) / lengths[..., None]
        best, places = means.flatten(1).topk(num_beams)
        origins, tokens = places // vocabulary, places % vocabulary
        was_stopped, lengths = _take(is_stopped, origins), _take(lengths, origins)
        totals = best * lengths
        added = log_probs.view(num_images, -1).gather(1, places).masked_fill(was_stopped, 0.0)
        raw = _take(raw, origins) + added
        ids = torch.cat([_take(ids, origins), tokens[..., None]], dim=-1)
        is_stopped = was_stopped | (tokens == limits.stop_id)
    rows = zip(ids.tolist(), lengths.int().tolist(), raw.tolist(), (totals / lengths).tolist(), strict=True)
    return [[Continued(c[:n], p, score) for c, n, p, score in zip(*image, strict=True)] for image in rows]


def _take(values: Tensor, beams: Tensor) -> Tensor:
    """Selects beams (images, m) from values (images, beams, ...) -> (images, m, ...)."""
    return values[torch.arange(len(beams), device=beams.device)[:, None], beams]


def _up_to(ids: list[int], stop_id: int) -> list[int]:
    """Returns the ids up to the first `stop_id`, inclusive."""
    return ids[: ids.index(stop_id) + 1] if stop_id in ids else ids
