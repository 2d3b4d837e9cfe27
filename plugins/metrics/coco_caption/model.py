"""BLEU, ROUGE-L and CIDEr-D: pycocoevalcap's scorers after our own PTB tokeniser, without Java."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge as RougeScorer

from ....core.protocols import CapfwWarning, Captioned, ImageId, Scores
from ...libraries.document_frequencies import DocumentFrequencies, read_document_frequencies, write_document_frequencies
from . import BleuConfig, CiderConfig, RougeLConfig
from .captions import common_signature, tokenized_pairs

FEW_IMAGES = 50


class Bleu:
    """BLEU-1 to BLEU-4, of the corpus and per image.

    The statistics of an image are the length of its candidate, the length of the closest reference, and the numbers of
    n-grams (n = 1 to 4) and of those that a reference has too.
    """

    def __init__(self, config: BleuConfig) -> None:
        self.names = config.score_names()

    def score(self, captioned: Captioned) -> Scores:
        candidate_tokens, reference_tokens = tokenized_pairs(captioned)
        scorer = BleuScorer(n=4)
        for image_id, captions in reference_tokens.items():
            scorer += (candidate_tokens[image_id][0], captions)
        corpus, per_image = scorer.compute_score(option="closest")
        return Scores(
            corpus={name: float(value) for name, value in zip(self.names, corpus, strict=True)},
            per_image={
                name: _by_id(captioned.references, values) for name, values in zip(self.names, per_image, strict=True)
            },
            statistics=dict(zip(reference_tokens, map(_counts, scorer.ctest), strict=True)),
        )

    @staticmethod
    def corpus_of(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Computes BLEU as pycocoevalcap does, with its two small constants against a division by 0."""
        small, tiny = 1e-9, 1e-15
        length, closest, guessed, correct = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
        precision = np.cumprod((correct + tiny) / (guessed + small), axis=-1) ** (1 / np.arange(1, 5))  # (..., 4)
        brevity = np.exp(np.minimum(0, 1 - (closest + small) / (length + tiny)))
        return {f"BLEU-{n}": precision[..., n - 1] * brevity for n in (1, 2, 3, 4)}

    def signature(self) -> dict[str, str]:
        return common_signature("4-grams, reference of the closest length")


class RougeL:
    """ROUGE-L, the mean over images."""

    def __init__(self, config: RougeLConfig) -> None:
        (self.name,) = config.score_names()

    def score(self, captioned: Captioned) -> Scores:
        candidate_tokens, reference_tokens = tokenized_pairs(captioned)
        corpus, per_image = RougeScorer().compute_score(reference_tokens, candidate_tokens)
        return Scores(corpus={self.name: float(corpus)}, per_image={self.name: _by_id(captioned.references, per_image)})

    def signature(self) -> dict[str, str]:
        return common_signature("beta 1.2, best precision and best recall over the references")


class Cider:
    """CIDEr-D scaled by 10, the mean over images.

    Warns (`CapfwWarning`), once, when the document frequencies come from fewer than 50 images.
    """

    def __init__(self, config: CiderConfig) -> None:
        """Raises `ComponentError` when the file `document_frequencies` does not hold document frequencies."""
        (self.name,) = config.score_names()
        self.frequencies: DocumentFrequencies | None = None
        self._origin = "the references scored against"
        self._has_warned = False  # a run scores with the same frequencies after every epoch
        if config.document_frequencies is not None:
            self.frequencies = read_document_frequencies(config.document_frequencies)
            self._origin = f"{self.frequencies.origin}, {self.frequencies.num_images} images"

    def score(self, captioned: Captioned) -> Scores:
        candidate_tokens, reference_tokens = tokenized_pairs(captioned)
        scorer = CiderScorer(n=4, sigma=6.0)
        for image_id, captions in reference_tokens.items():
            scorer += (candidate_tokens[image_id][0], captions)
        details: dict[str, str] = {}
        if self.frequencies is None:
            scorer.compute_doc_freq()
            num_images = len(reference_tokens)
            details = {"document_frequencies": f"the references scored against, {num_images} images"}
        else:
            scorer.document_frequency.update(self.frequencies.ngrams)
            scorer.crefs = _CountedAs(self.frequencies.num_images, scorer.crefs)
            num_images = self.frequencies.num_images
        if num_images < FEW_IMAGES and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"CIDEr weighs n-grams by how rare they are among {num_images} image{'s' * (num_images != 1)}; with fewer "
                f"than {FEW_IMAGES} the score means little. `capfw score --references FILE --write-document-frequencies "
                "COUNTS` counts them in a larger set; name COUNTS in the option document_frequencies of metric cider.",
                CapfwWarning,
                stacklevel=2,
            )
        per_image = _by_id(captioned.references, scorer.compute_cider())
        return Scores({self.name: sum(per_image.values()) / len(per_image)}, {self.name: per_image}, details)

    def write_document_frequencies(
        self, file: Path, references: Mapping[ImageId, tuple[str, ...]], *, origin: str
    ) -> None:
        """Counts the n-grams of the references into a file for the option `document_frequencies`."""
        write_document_frequencies(file, references, origin=origin)

    def signature(self) -> dict[str, str]:
        """The common part, and `document_frequencies`: the origin of the frequencies."""
        return common_signature("CIDEr-D, n = 4, sigma = 6") | {"document_frequencies": self._origin}


class _CountedAs(list[object]):
    """References whose length is the number of images behind the frequencies, where CiderScorer reads that number."""

    def __init__(self, num_images: int, references: Iterable[object]) -> None:
        super().__init__(references)
        self.num_images = num_images

    def __len__(self) -> int:
        return self.num_images


def _counts(cooked: Mapping[str, Any]) -> list[float]:
    """The statistics of one image, from BleuScorer's counts."""
    length = cooked["testlen"]
    closest = min(cooked["reflen"], key=lambda each: (abs(each - length), each))
    return [length, closest, *cooked["guess"], *cooked["correct"]]


def _by_id(ids: Iterable[ImageId], values: Iterable[float]) -> dict[ImageId, float]:
    return {image_id: float(value) for image_id, value in zip(ids, values, strict=True)}
