"""The arithmetic of metric "diversity", on the tokens of coco-caption."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version

from pycocoevalcap.bleu.bleu import Bleu as BleuScorer

from ....core.protocols import CapfwWarning, Captioned, DataError, ImageId, Scores
from ...libraries.document_frequencies import DocumentFrequencies, count_documents, read_document_frequencies
from ...libraries.ptb import TOKENIZER, tokenize_all
from . import NOVEL, OF_SETS, DiversityConfig
from .self_cider import SelfCider

PerImage = dict[ImageId, float]


class Diversity:
    """Distinct-n, vocabulary and length of the candidates; Novel; and Div-n, mBLEU-4 and Self-CIDEr of sets of captions.

    Warns (`CapfwWarning`), once, of the scores that it leaves out.
    """

    def __init__(self, config: DiversityConfig) -> None:
        """Raises `ComponentError` when the file `document_frequencies` does not hold document frequencies."""
        self.frequencies: DocumentFrequencies | None = None
        self._origin = "the references scored against"
        if config.document_frequencies is not None:
            self.frequencies = read_document_frequencies(config.document_frequencies)
            self._origin = f"{self.frequencies.origin}, {self.frequencies.num_images} images"
        self._warnings: set[str] = set()  # a run scores after every epoch
        self._training: tuple[Collection[str], frozenset[str]] = ((), frozenset())

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` when there are no candidates."""
        if not captioned.candidates:
            raise DataError("there are no captions to count.", fix="Score at least one image.")
        captions = dict(zip(captioned.candidates, tokenize_all(captioned.candidates.values()), strict=True))
        lengths = {image_id: float(len(caption.split())) for image_id, caption in captions.items()}
        corpus = {
            "Distinct-1": _distinct(list(captions.values()), 1),
            "Distinct-2": _distinct(list(captions.values()), 2),
            "Vocabulary": float(len({word for caption in captions.values() for word in caption.split()})),
            "Length": _mean(lengths),
        }
        per_image, details = {"Length": lengths}, dict[str, str]()
        if captioned.training_captions is not None:
            known = self._known(captioned.training_captions)
            per_image[NOVEL] = {image_id: float(caption not in known) for image_id, caption in captions.items()}
            details["training_captions"] = str(len(captioned.training_captions))
        else:
            self._warn(f"{NOVEL} needs the captions of the training images.")
        sets = self._sets(captioned)
        if sets is not None:
            per_image |= self._of_sets(sets, captioned)
            corpus["mBLEU-4"], per_image["mBLEU-4"] = _mutual_bleu(sets)
            sizes = sorted({len(each) for each in sets.values()})
            details["captions_per_image"] = " to ".join(map(str, {sizes[0]: 0, sizes[-1]: 0}))
            if self.frequencies is None and "Self-CIDEr" in per_image:
                details["document_frequencies"] = f"{self._origin}, {len(captioned.references)} images"
        corpus |= {name: _mean(values) for name, values in per_image.items() if name not in corpus}
        return Scores(corpus, per_image, details)

    def signature(self) -> dict[str, str]:
        return {
            "tokenizer": TOKENIZER,
            "library": f"pycocoevalcap {version('pycocoevalcap')}",
            "variant": "Distinct and Div per word; mBLEU-4 over positions; Self-CIDEr from CIDEr-D, n = 4, sigma = 6",
            "document_frequencies": self._origin,
        }

    def _known(self, training: Collection[str]) -> frozenset[str]:
        """The tokenized training captions, kept from one call to the next for the same collection."""
        if self._training[0] is not training:
            self._training = training, frozenset(tokenize_all(training))
        return self._training[1]

    def _sets(self, captioned: Captioned) -> dict[ImageId, list[str]] | None:
        """The tokenized captions of each image; None, with a warning, where an image has only one."""
        n_best = captioned.n_best or {}
        single = [image_id for image_id in captioned.candidates if len(n_best.get(image_id, ())) < 2]
        if single:
            some = "" if len(single) == len(captioned.candidates) else f" ({len(single)} images have one)"
            self._warn(f"{', '.join(OF_SETS)} need several captions per image{some}: /generate/num_captions.")
            return None
        flat = iter(tokenize_all(caption for image_id in captioned.candidates for caption in n_best[image_id]))
        return {image_id: [next(flat) for _ in n_best[image_id]] for image_id in captioned.candidates}

    def _of_sets(self, sets: Mapping[ImageId, Sequence[str]], captioned: Captioned) -> dict[str, PerImage]:
        found = {f"Div-{n}": {image_id: _distinct(captions, n) for image_id, captions in sets.items()} for n in (1, 2)}
        if self.frequencies is not None:
            self_cider = SelfCider(self.frequencies.ngrams, self.frequencies.num_images)
        elif len(captioned.references) > 1:
            self_cider = SelfCider(count_documents(captioned.references), len(captioned.references))
        else:  # every n-gram is in every image: all weights are 0
            self._warn("Self-CIDEr needs the references of two images or more, or document_frequencies.")
            return found
        return found | {"Self-CIDEr": {image_id: self_cider.score(captions) for image_id, captions in sets.items()}}

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            warnings.warn(f"Metric diversity left scores out: {text}", CapfwWarning, stacklevel=3)


def _distinct(captions: Sequence[str], n: int) -> float:
    """The different n-grams of all captions, divided by the number of their words, as in both papers."""
    words = [caption.split() for caption in captions]
    ngrams = {tuple(each[start : start + n]) for each in words for start in range(len(each) - n + 1)}
    return len(ngrams) / max(1, sum(map(len, words)))


def _mutual_bleu(sets: Mapping[ImageId, Sequence[str]]) -> tuple[float, PerImage]:
    """mBLEU-4: BLEU-4 of each caption against the others of its image.

    As in the authors' program, the first captions of all images are one corpus, the second ones another, and so on; the
    value is the mean over these corpora. Per image, it is the mean of the captions' own BLEU-4.
    """
    corpora, single = [], {image_id: list[float]() for image_id in sets}
    for place in range(max(map(len, sets.values()))):
        there = {image_id: captions for image_id, captions in sets.items() if len(captions) > place}
        candidates = {image_id: [captions[place]] for image_id, captions in there.items()}
        others = {image_id: [*captions[:place], *captions[place + 1 :]] for image_id, captions in there.items()}
        corpus, values = BleuScorer(4).compute_score(others, candidates, verbose=0)
        corpora.append(float(corpus[3]))
        for image_id, value in zip(there, values[3], strict=True):
            single[image_id].append(float(value))
    return sum(corpora) / len(corpora), {image_id: sum(each) / len(each) for image_id, each in single.items()}


def _mean(values: Mapping[ImageId, float]) -> float:
    return sum(values.values()) / len(values)
