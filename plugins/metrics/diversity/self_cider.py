"""Self-CIDEr (Wang and Chan, 2019, section 4): the spread of the captions of one image, from the similarity of each pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pycocoevalcap.cider.cider_scorer import precook

Ngram = tuple[str, ...]
MAX_N, SIGMA = 4, 6.0


@dataclass(frozen=True)
class _Vector:
    """The weights of a caption's n-grams, for each n, their norms, and the length of the caption as CIDEr-D counts it."""

    weights: tuple[dict[Ngram, float], ...]
    norms: tuple[float, ...]
    length: int


class SelfCider:
    """Self-CIDEr with the document frequencies `ngrams` of `num_images` images.

    The similarity is CIDEr-D, as in the authors' program: its clipping makes it depend on which caption of a pair comes
    first, and the earlier caption counts as the candidate. 0: the captions are equal. 1: they share no n-gram.
    """

    def __init__(self, ngrams: Mapping[Ngram, int], num_images: int) -> None:
        self.ngrams, self.log_num_images = ngrams, math.log(num_images)

    def score(self, captions: Sequence[str]) -> float:
        """The score of two or more tokenized captions of one image."""
        vectors = [self._vector(caption) for caption in captions]
        similarity = np.zeros((len(captions), len(captions)))
        for row, candidate in enumerate(vectors):
            for column in range(row, len(vectors)):
                similarity[row, column] = similarity[column, row] = _similarity(candidate, vectors[column])
        roots = np.sqrt(np.linalg.svd(similarity, compute_uv=False))
        if not roots.sum():
            return 0.0  # no caption has an n-gram of any weight: nothing distinguishes them
        return max(0.0, float(-np.log(roots.max() / roots.sum()) / np.log(len(captions))))

    def _vector(self, caption: str) -> _Vector:
        weights: tuple[dict[Ngram, float], ...] = tuple({} for _ in range(MAX_N))
        length = 0
        for ngram, count in precook(caption, MAX_N).items():
            idf = self.log_num_images - math.log(max(1, self.ngrams.get(ngram, 0)))
            weights[len(ngram) - 1][ngram] = count * idf
            length += count * (len(ngram) == 2)  # CIDEr-D counts pairs of words
        norms = tuple(math.sqrt(sum(value * value for value in each.values())) for each in weights)
        return _Vector(weights, norms, length)


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """CIDEr-D of one candidate and one reference, from 0 to 1."""
    total = 0.0
    for n in range(MAX_N):
        norm = candidate.norms[n] * reference.norms[n]
        pairs = ((value, reference.weights[n].get(ngram, 0.0)) for ngram, value in candidate.weights[n].items())
        shared = sum(min(value, other) * other for value, other in pairs)
        total += shared / norm if norm else 0.0
    penalty = math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
    return total * penalty / MAX_N
