"""BLEU, ROUGE-L and CIDEr over PTB tokens, through pycocoevalcap's scorers."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from math import log
from pathlib import Path
from typing import TypeAlias

from pycocoevalcap.bleu import bleu
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge import rouge

from ....core.protocols import CapfwWarning, DataError, ImageId, Scores
from . import BleuConfig, CiderConfig, RougeLConfig
from .ptb import tokenize_all

Candidates: TypeAlias = Mapping[ImageId, str]
References: TypeAlias = Mapping[ImageId, tuple[str, ...]]
_FEW_IMAGES = 50


class _Metric:
    """What the three share: tokenised input, in the order of the candidates, and the signature."""

    def _tokenized(
        self, candidates: Candidates, references: References
    ) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """Tokenised references and candidates, numbered in the candidates' order as pycocoevalcap wants them."""
        if not candidates:
            raise DataError("there are no candidates to score.", fix="Caption at least one image.")
        if candidates.keys() != references.keys():
            differing = sorted(map(str, candidates.keys() ^ references.keys()))
            raise DataError(
                f"candidates and references are of different images: {', '.join(differing[:5])}"
                + (f" and {len(differing) - 5} more." if len(differing) > 5 else "."),
                fix="Score the same images on both sides.",
            )
        if bare := [image_id for image_id in candidates if not references[image_id]]:
            raise DataError(f"image {bare[0]} has no reference.", fix="Leave it out, or give it references.")
        flat = tokenize_all(reference for image_id in candidates for reference in references[image_id])
        tokens = iter(flat)
        gts = {n: [next(tokens) for _ in references[image_id]] for n, image_id in enumerate(candidates)}
        res = {n: [text] for n, text in enumerate(tokenize_all(candidates.values()))}
        return gts, res

    def signature(self) -> Mapping[str, str]:
        return {
            "metric": type(self).__name__,
            "tokenizer": "PTB as coco-caption's (capfw, no Java)",
            "scorer": f"pycocoevalcap {version('pycocoevalcap')}",
        }


class Bleu(_Metric):
    """BLEU-1 to BLEU-4 (Papineni et al., 2002), in 0..1."""

    def __init__(self, config: BleuConfig) -> None:
        self.config = config

    def score(self, candidates: Candidates, references: References) -> Scores:
        gts, res = self._tokenized(candidates, references)
        with contextlib.redirect_stdout(io.StringIO()):  # the scorer prints
            corpus, per_image = bleu.Bleu(4).compute_score(gts, res, verbose=0)
        names = self.config.score_names()
        return Scores(
            {name: float(value) for name, value in zip(names, corpus, strict=True)},
            {name: dict(zip(candidates, map(float, v), strict=True)) for name, v in zip(names, per_image, strict=True)},
        )


class RougeL(_Metric):
    """ROUGE-L (Lin, 2004), in 0..1."""

    def __init__(self, config: RougeLConfig) -> None:
        self.config = config

    def score(self, candidates: Candidates, references: References) -> Scores:
        gts, res = self._tokenized(candidates, references)
        corpus, per_image = rouge.Rouge().compute_score(gts, res)
        return Scores(
            {"ROUGE-L": float(corpus)}, {"ROUGE-L": dict(zip(candidates, map(float, per_image), strict=True))}
        )


class Cider(_Metric):
    """CIDEr-D (Vedantam et al., 2015), unscaled, in 0..10.

    Words count by how rare they are over the images; `document_frequencies` fixes that rarity, so that few images, or
    one, can be scored. Without it, a warning is given below 50 images.
    """

    def __init__(self, config: CiderConfig) -> None:
        self.file = config.document_frequencies
        self._num_documents = 0

    def score(self, candidates: Candidates, references: References) -> Scores:
        gts, res = self._tokenized(candidates, references)
        scorer = CiderScorer(n=4, sigma=6.0)
        for number in gts:
            scorer += (res[number][0], gts[number])
        if self.file is None:
            self._num_documents = len(gts)
            if len(gts) < _FEW_IMAGES:
                warnings.warn(
                    f"CIDEr over {len(gts)} images takes word frequencies from those alone and is not comparable; "
                    "set document_frequencies.",
                    CapfwWarning,
                    stacklevel=2,
                )
            corpus, per_image = scorer.compute_score()
        else:
            scorer.document_frequency, self._num_documents = read_document_frequencies(self.file)
            scorer.ref_len = log(float(self._num_documents))
            per_image = scorer.compute_cider()
            corpus = sum(per_image) / len(per_image)
        return Scores({"CIDEr": float(corpus)}, {"CIDEr": dict(zip(candidates, map(float, per_image), strict=True))})

    def signature(self) -> Mapping[str, str]:
        origin = self.file.name if self.file else "the references scored"
        return {**super().signature(), "document_frequencies": f"{origin}, {self._num_documents} images"}


def write_document_frequencies(references: References, file: Path) -> None:
    """Writes how many images' references hold each n-gram (n up to 4, PTB tokens): JSON `num_images`, `counts`."""
    scorer = CiderScorer(n=4, sigma=6.0)
    for captions in references.values():
        scorer += ("", tokenize_all(captions))
    scorer.compute_doc_freq()
    counts = {" ".join(ngram): int(count) for ngram, count in sorted(scorer.document_frequency.items())}
    file.write_text(json.dumps({"num_images": len(references), "counts": counts}, ensure_ascii=False), encoding="utf-8")


def read_document_frequencies(file: Path) -> tuple[dict[tuple[str, ...], float], int]:
    """What `write_document_frequencies` wrote. Raises `DataError` for any other file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        counts: dict[tuple[str, ...], float] = defaultdict(float)
        counts.update({tuple(ngram.split(" ")): float(count) for ngram, count in content["counts"].items()})
        return counts, int(content["num_images"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError(
            f"not a file of document frequencies: {err!r}.",
            where=str(file),
            fix="Write it with write_document_frequencies.",
        ) from err
