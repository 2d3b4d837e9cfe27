"""Resamples the images of scores: bootstrap, randomisation, and intervals. It needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import PluginError
from .protocols import HasStatistics, ImageId, Metric

Array: TypeAlias = NDArray[np.float64]
CorpusOf: TypeAlias = Callable[[Array], Mapping[str, Array]]
"""Sums of statistics (..., k) -> the value (...) of each score, as in `HasStatistics`."""
Statistics: TypeAlias = Mapping[ImageId, Sequence[float]]

NUM_RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 0
_CELLS = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """An interval from `low` to `high` for a value."""

    low: float
    high: float


@dataclass(frozen=True)
class SummedScores:
    """Scores whose corpus values follow from sums over the images of `rows` (images, k)."""

    names: tuple[str, ...]
    rows: Array
    corpus_of: CorpusOf


def summed_scores(
    ids: Collection[ImageId],
    corpus: Mapping[str, float],
    per_image: Mapping[str, Mapping[ImageId, float]],
    statistics: Iterable[tuple[CorpusOf, Statistics]],
) -> list[SummedScores]:
    """Returns the scores that can be resampled: by statistics, or because they are means over the images.

    Rows are in the order of `ids`. Raises `PluginError` for statistics that do not give the corpus values.
    """
    found = [_from_statistics(ids, corpus, corpus_of, rows) for corpus_of, rows in statistics]
    done = {name for each in found for name in each.names}
    for name, values in per_image.items():
        if name in done or values.keys() != set(ids) or name not in corpus:
            continue
        column = np.array([[values[i]] for i in ids], dtype=np.float64)
        if np.isclose(column.mean(), corpus[name], rtol=1e-9, atol=1e-12):
            found.append(SummedScores((name,), column, _mean_of(name, len(column))))
    return [each for each in found if np.isfinite(each.rows).all()]


def _mean_of(name: str, count: int) -> CorpusOf:
    return lambda sums: {name: sums[..., 0] / count}


def _from_statistics(
    ids: Collection[ImageId],
    corpus: Mapping[str, float],
    corpus_of: CorpusOf,
    statistics: Statistics,
) -> SummedScores:
    fix = "Correct the metric; `capfw plugins check` tests its statistics. Or leave the metric out."
    try:
        rows = np.array([statistics[i] for i in ids], dtype=np.float64)  # (images, k)
        values = {name: float(value) for name, value in corpus_of(rows.sum(0)).items()}
    except Exception as err:  # third-party code
        raise PluginError(f"the statistics of {', '.join(corpus)} fail: {type(err).__name__}: {err}", fix=fix) from err
    wrong = [n for n, value in values.items() if not np.isclose(value, corpus.get(n, np.nan), rtol=1e-9, atol=1e-9)]
    if wrong:
        was = f"{values[wrong[0]]!r}, and the corpus value is {corpus.get(wrong[0])!r}"
        raise PluginError(f"the statistics of all images give {wrong[0]} {was}.", fix=fix)
    return SummedScores(tuple(values), rows, corpus_of)


def functions_of(
    metrics: Sequence[Metric | type], statistics: Sequence[Statistics]
) -> list[tuple[CorpusOf, Statistics]]:
    """Returns the statistics of the metrics that have some, each with its function. A metric may be its class.

    Raises `PluginError` for a metric that has statistics, but no function of their sums.
    """
    found: list[tuple[CorpusOf, Statistics]] = []
    for metric, rows in zip(metrics, statistics, strict=True):
        if not rows:
            continue
        if not isinstance(metric, HasStatistics):
            name = getattr(metric, "__name__", type(metric).__name__)
            what = f"metric {name} has statistics, but no method corpus_of(sums)."
            raise PluginError(what, fix="Add the static method, or leave the statistics out.")
        found.append((metric.corpus_of, rows))
    return found


def intervals_of(scores: Sequence[SummedScores]) -> dict[str, Interval]:
    """Returns the interval of each corpus value, as `interval_method` describes it; none for a single image."""
    if not scores or len(scores[0].rows) < 2:
        return {}
    resampled = bootstrap(scores, num_resamples=NUM_RESAMPLES, seed=SEED)
    return {name: percentiles(values) for name, values in resampled.items()}


def interval_method() -> dict[str, object]:
    """Returns the facts about the intervals of `intervals_of`, to be stored beside them."""
    method = "bootstrap over images, percentiles"
    return {"method": method, "confidence": CONFIDENCE, "num_resamples": NUM_RESAMPLES, "seed": SEED}


def percentiles(values: Array) -> Interval:
    """Returns the 95 % interval between percentiles of resampled values (Efron and Tibshirani, 1993, chapter 13)."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def bootstrap(scores: Sequence[SummedScores], *, num_resamples: int, seed: int) -> dict[str, Array]:
    """Returns corpus values (resamples,) of each score, over images drawn with replacement, as many as there are.

    One seed draws the same images for any scores of as many images. So two systems are resampled together, that is in
    pairs (Koehn, 2004, "Statistical significance tests for machine translation evaluation", section 3).
    """
    sums = resampled_sums(np.hstack([each.rows for each in scores]), num_resamples=num_resamples, seed=seed)
    return _values(scores, sums)


def randomisation(
    first: Sequence[SummedScores], second: Sequence[SummedScores], *, num_trials: int, seed: int
) -> dict[str, float]:
    """Returns the p-value of each score's difference by two-sided paired approximate randomisation.

    Each trial exchanges the two systems' captions of every image with probability 1/2. p is the share of the trials whose
    difference is at least as large as the real one; the real one counts as a trial (Riezler and Maxwell, 2005, "On some
    pitfalls in automatic evaluation and significance testing for MT", section 4.2). `first` and `second` have the same
    scores in the same order.
    """
    ours, theirs = (np.hstack([each.rows for each in scores]) for scores in (first, second))
    moved = np.concatenate([kept @ (ours - theirs) for kept in _halves(len(ours), num_trials, seed)])  # (trials, k)
    exchanged = _values(first, ours.sum(0) - moved), _values(second, theirs.sum(0) + moved)
    real = _values(first, ours.sum(0)), _values(second, theirs.sum(0))
    found = {}
    for name in real[0]:
        difference = abs(float(real[1][name] - real[0][name]))
        as_large = np.abs(exchanged[1][name] - exchanged[0][name]) >= difference - 1e-12  # equal but for rounding
        found[name] = (1 + int(as_large.sum())) / (1 + num_trials)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number (Holm, 1979, "A simple sequentially rejective multiple test procedure")."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def resampled_sums(rows: Array, *, num_resamples: int, seed: int) -> Array:
    """Returns sums (resamples, k) of `rows` (images, k) over the drawn images; one seed draws the same images."""
    return np.concatenate([counts @ rows for counts in _drawn(len(rows), num_resamples, seed)])


def _values(scores: Sequence[SummedScores], sums: Array) -> dict[str, Array]:
    """Returns the values of each score from the sums (..., all k side by side)."""
    ends = np.cumsum([each.rows.shape[1] for each in scores])
    parts = np.split(sums, ends[:-1], axis=-1)
    return {
        name: value for each, part in zip(scores, parts, strict=True) for name, value in each.corpus_of(part).items()
    }


def _drawn(num_images: int, num_resamples: int, seed: int) -> Iterator[Array]:
    """Yields how often each resample draws each image (resamples, images), in chunks."""
    rng = np.random.default_rng(seed)
    shares = np.full(num_images, 1 / num_images)
    for size in _chunks(num_images, num_resamples):
        yield rng.multinomial(num_images, shares, size=size).astype(np.float64)


def _halves(num_images: int, num_trials: int, seed: int) -> Iterator[Array]:
    """Yields 1 for each image that a trial exchanges, else 0 (trials, images), in chunks."""
    rng = np.random.default_rng(seed)
    for size in _chunks(num_images, num_trials):
        bits = rng.integers(0, 256, size=(size, -(-num_images // 8)), dtype=np.uint8)
        yield np.unpackbits(bits, axis=1, count=num_images).astype(np.float64)


def _chunks(num_images: int, count: int) -> Iterator[int]:
    """Yields the sizes of the chunks of `count` rows of `num_images` numbers."""
    most = max(1, _CELLS // num_images)
    for start in range(0, count, most):
        yield min(most, count - start)
