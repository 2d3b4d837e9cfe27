"""Compares two systems on the same images: the difference of their scores, and an interval for it. It needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, RequestError, listed
from .protocols import ImageId

_CELLS = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True)
class Difference:
    """The difference between two systems, first minus second, with a bootstrap interval from `low` to `high`.

    confidence: the share of such intervals that hold the true difference. The interval belongs to these two systems as
    they are: it covers the choice of the images, not the seed of the training.
    """

    value: float
    low: float
    high: float
    confidence: float
    num_images: int
    num_resamples: int
    seed: int


def paired_bootstrap(
    first: Mapping[ImageId, float],
    second: Mapping[ImageId, float],
    *,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compares the means of the per-image values of two systems by a paired bootstrap over images.

    Each resample draws as many images as there are, with replacement, and takes both systems' values of the same images
    (Koehn, 2004, "Statistical significance tests for machine translation evaluation", section 3). The interval lies
    between percentiles of the resampled differences (Efron and Tibshirani, 1993, chapter 13). For a score whose corpus
    value is the mean over images, such as CIDEr with the document frequencies of the whole split, this resamples the
    corpus value itself. The result does not depend on the order of the images.

    Raises `DataError` when the two do not hold the same images, or where a value is not finite, and `RequestError` for
    fewer than 1,000 resamples or a confidence outside 0 to 1.
    """
    if num_resamples < 1000:
        raise RequestError(
            f"{num_resamples} resamples are too few for an interval.", where="num_resamples", fix="Use 1000 or more."
        )
    if not 0 < confidence < 1:
        raise RequestError(f"{confidence} is no share.", where="confidence", fix="Use a number such as 0.95.")
    values = np.array([[first[i], second[i]] for i in paired(first, second)], dtype=np.float64)  # (images, 2)
    means = resampled_sums(values, num_resamples=num_resamples, seed=seed) / len(values)  # (resamples, 2)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means[:, 0] - means[:, 1], [tail, 1 - tail])
    value = float(values[:, 0].mean() - values[:, 1].mean())
    return Difference(value, float(low), float(high), confidence, len(values), num_resamples, seed)


def paired(first: Mapping[ImageId, float], second: Mapping[ImageId, float]) -> list[ImageId]:
    """The image ids of both systems, in one order for every order of the mappings.

    Raises `DataError` when one of the two lacks an image of the other, when there is none, or where a value is not finite.
    """
    if not first:
        raise DataError("the first system has no image.", fix="Give the values of the images that both captioned.")
    if alone := [*(i for i in first if i not in second), *(i for i in second if i not in first)]:
        raise DataError(
            f"the two systems have different images; only one has {listed([repr(i) for i in alone], 5)}.",
            fix="Compare them on the same split, with one value per image.",
        )
    ids = sorted(first, key=lambda image_id: (str(image_id), isinstance(image_id, str)))
    if wrong := [i for i in ids if not np.isfinite([first[i], second[i]]).all()]:
        raise DataError(
            f"a value is not finite for {listed(wrong, 5)}.", fix="Leave the metric out that has no value there."
        )
    return ids


def resampled_sums(statistics: NDArray[np.float64], *, num_resamples: int, seed: int) -> NDArray[np.float64]:
    """Sums (resamples, k) of the statistics (images, k), over images drawn with replacement.

    One seed draws the same images for any statistics of as many images, so that systems and scores can be resampled
    together or one after the other. A corpus score that is a function of such sums is computed from each row.
    """
    return np.concatenate([counts @ statistics for counts in _drawn(len(statistics), num_resamples, seed)])


def _drawn(num_images: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each resample draws each image (resamples, images), in chunks."""
    rng, chunk = np.random.default_rng(seed), max(1, _CELLS // num_images)
    shares = np.full(num_images, 1 / num_images)
    for start in range(0, num_resamples, chunk):
        yield rng.multinomial(num_images, shares, size=min(chunk, num_resamples - start)).astype(np.float64)
