"""Diversity: values worked out by hand, Self-CIDEr against pycocoevalcap's CIDEr, and the scores that are left out."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocoevalcap.cider.cider_scorer import CiderScorer, precook

from capfw.core.protocols import CapfwWarning, Captioned, DataError
from capfw.plugins.libraries.document_frequencies import write_document_frequencies
from capfw.plugins.metrics.diversity import DiversityConfig
from capfw.plugins.metrics.diversity.model import Diversity

from .conftest import Fakecap

CANDIDATES = {1: "A dog runs.", "b": "a dog sleeps on a bed"}
N_BEST = {1: ("A dog runs.", "A dog runs!"), "b": ("a dog sleeps on a bed", "two cats")}
REFERENCES = {1: ("a dog runs on grass",), "b": ("a dog sleeps",)}
CAPTIONED = Captioned(CANDIDATES, REFERENCES, None, N_BEST, ("a dog runs", "a bird"))


def score(captioned: Captioned, **options: object) -> tuple[dict[str, float], dict[str, dict[int | str, float]]]:
    scores = Diversity(DiversityConfig(**options)).score(captioned)
    return dict(scores.corpus), {name: dict(values) for name, values in scores.per_image.items()}


def test_values_worked_out_by_hand() -> None:
    corpus, per_image = score(CAPTIONED)
    # a dog runs / a dog sleeps on a bed: 9 words, 6 of them different; 7 pairs of which "a dog" is there twice.
    assert corpus["Distinct-1"] == pytest.approx(6 / 9)
    assert corpus["Distinct-2"] == pytest.approx(6 / 9)
    assert corpus["Vocabulary"] == 6
    assert corpus["Length"] == pytest.approx(4.5)
    assert per_image["Length"] == {1: 3, "b": 6}
    # "A dog runs." has the words of a training caption.
    assert per_image["Novel"] == {1: 0, "b": 1}
    assert corpus["Novel"] == 0.5
    # Image 1: 3 different words and 2 pairs in 6 words. Image b: 5 + 2 words and 5 + 1 pairs in 8 words.
    assert per_image["Div-1"] == pytest.approx({1: 3 / 6, "b": 7 / 8})
    assert per_image["Div-2"] == pytest.approx({1: 2 / 6, "b": 6 / 8})
    assert corpus["Div-2"] == pytest.approx((2 / 6 + 6 / 8) / 2)
    # The captions of image 1 are equal; those of image b share nothing.
    assert per_image["Self-CIDEr"][1] == pytest.approx(0, abs=1e-6)
    assert per_image["Self-CIDEr"]["b"] == pytest.approx(_two_unlike(pair_of_words=True))


def test_self_cider_of_one_image_is_left_out() -> None:
    captioned = Captioned({1: "a dog runs"}, {1: ("a dog",)}, n_best={1: ("a dog runs", "two red cats sleep")})
    with pytest.warns(CapfwWarning, match="Self-CIDEr needs the references of two images or more"):
        found = Diversity(DiversityConfig()).score(captioned)
    assert found.corpus["Div-1"] == 1
    assert "Self-CIDEr" not in found.corpus
    assert "document_frequencies" not in found.details


def _two_unlike(*, pair_of_words: bool) -> float:
    """Self-CIDEr of two captions that share nothing, the second of two words: it has no 3-grams and no 4-grams."""
    large, small = 1.0, 2 / 4 if pair_of_words else 1.0  # the similarity of each caption with itself
    return -math.log(math.sqrt(large) / (math.sqrt(large) + math.sqrt(small))) / math.log(2)


def test_mutual_bleu_worked_out_by_hand() -> None:
    sets = {1: ("a b c d e", "a b c d e"), 2: ("a b c d e", "a b c d f")}
    captioned = Captioned({i: each[0] for i, each in sets.items()}, {i: ("a b",) for i in sets}, None, sets, ())
    corpus, per_image = score(captioned)
    assert per_image["mBLEU-4"][1] == pytest.approx(1, abs=1e-6)
    # Each caption of image 2 shares 4 of 5 words, 3 of 4 pairs, 2 of 3 triples and 1 of 2 quadruples with the other.
    assert per_image["mBLEU-4"][2] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25, abs=1e-6)
    # The first captions are one corpus: 9 of 10 words, 7 of 8 pairs, ...; the second ones are another with equal counts.
    assert corpus["mBLEU-4"] == pytest.approx((9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25, abs=1e-6)


def test_self_cider_is_that_of_pycocoevalcaps_cider(fakecap: Fakecap, tmp_path: Path) -> None:
    """The authors' program: CIDEr-D of each pair of captions, one as the reference; then the singular values."""
    ids = list(fakecap.references)[:30]
    n_best = {i: (fakecap.candidates[i], *fakecap.references[i][:3]) for i in ids}
    candidates, references = {i: n_best[i][0] for i in ids}, {i: fakecap.references[i] for i in ids}
    captioned = Captioned(candidates, references, None, n_best, ())
    tokens = _tokens(captioned)
    _, per_image = score(captioned)
    frequencies: Counter[tuple[str, ...]] = Counter()
    for captions in tokens["references"].values():
        frequencies.update({ngram for caption in captions for ngram in precook(caption)})
    expected = {i: _self_cider(tokens["n_best"][i], frequencies, len(ids)) for i in ids}
    assert per_image["Self-CIDEr"] == pytest.approx(expected, abs=1e-9)
    assert len({round(value, 6) for value in expected.values()}) > 20

    file = tmp_path / "frequencies.json"
    write_document_frequencies(file, {i: fakecap.references[i] for i in fakecap.references}, origin="fakecap")
    _, others = score(captioned, document_frequencies=str(file))
    assert others["Self-CIDEr"] != pytest.approx(expected, abs=1e-6)


def _tokens(captioned: Captioned) -> dict[str, dict[int | str, list[str]]]:
    from capfw.plugins.libraries.ptb import tokenize_all

    assert captioned.n_best is not None
    return {
        "n_best": {i: tokenize_all(captions) for i, captions in captioned.n_best.items()},
        "references": {i: tokenize_all(captions) for i, captions in captioned.references.items()},
    }


class _Many(list[object]):
    def __init__(self, count: int, given: list[object]) -> None:
        super().__init__(given)
        self.count = count

    def __len__(self) -> int:
        return self.count


def _self_cider(captions: list[str], frequencies: Counter[tuple[str, ...]], num_images: int) -> float:
    size = len(captions)
    matrix = np.zeros((size, size))
    for row in range(size):
        for column in range(row, size):
            scorer = CiderScorer(captions[row], [captions[column]])
            scorer.document_frequency.update(frequencies)
            scorer.crefs = _Many(num_images, scorer.crefs)
            matrix[row, column] = matrix[column, row] = scorer.compute_cider()[0]
    roots = np.sqrt(np.linalg.svd(matrix)[1])
    return float(-np.log10(roots.max() / roots.sum()) / np.log10(size))


def test_scores_without_their_input_are_left_out_with_one_notice() -> None:
    metric = Diversity(DiversityConfig())
    with pytest.warns(CapfwWarning) as caught:
        scores = metric.score(Captioned(CANDIDATES, REFERENCES))
    assert set(scores.corpus) == {"Distinct-1", "Distinct-2", "Vocabulary", "Length"}
    texts = [str(each.message) for each in caught]
    assert texts[0].endswith("Novel needs the captions of the training images.")
    assert "Div-1, Div-2, mBLEU-4, Self-CIDEr need several captions per image: /generate/num_captions." in texts[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", CapfwWarning)
        metric.score(Captioned(CANDIDATES, REFERENCES))
    with pytest.warns(CapfwWarning, match=r"several captions per image \(1 images have one\)"):
        metric.score(Captioned(CANDIDATES, REFERENCES, None, {1: ("A dog runs.",), "b": N_BEST["b"]}, ("x",)))


@pytest.mark.filterwarnings("ignore::capfw.core.errors.CapfwWarning")
def test_captions_without_words() -> None:
    empty = Captioned({1: "", 2: "."}, {1: ("a dog",), 2: ("a cat",)}, None, {1: ("", "!"), 2: (".", "")}, ())
    corpus, _ = score(empty)
    assert corpus == pytest.approx(dict.fromkeys(corpus, 0.0) | {"Novel": 1.0}, abs=1e-6)
    with pytest.raises(DataError, match="no captions to count"):
        score(Captioned({}, {}))
