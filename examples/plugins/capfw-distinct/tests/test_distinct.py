"""The checks every metric must pass, and examples counted by hand."""

import capfw_distinct
import pytest
from capfw_distinct import DistinctConfig
from capfw_distinct.model import Distinct

from capfw.core.conformance import conformance_test
from capfw.core.protocols import Captioned, DataError

test_conformance = conformance_test(capfw_distinct)


def score(*captions: str, **options: int) -> dict[str, float]:
    candidates = dict(enumerate(captions))
    captioned = Captioned(candidates, dict.fromkeys(candidates, ("a dog",)))
    return dict(Distinct(DistinctConfig(**options)).score(captioned).corpus)


def test_counts_ngrams_words_and_captions() -> None:
    scores = score("A dog runs.", "a dog sits", "a dog runs")

    # 9 words; a, dog, runs, sits; "a dog", "dog runs", "dog sits"; and two captions, as signs and case do not count
    assert scores == {
        "Distinct-1": pytest.approx(4 / 9),
        "Distinct-2": pytest.approx(3 / 9),
        "VocabularySize": 4.0,
        "DistinctCaptions": pytest.approx(2 / 3),
    }


def test_ngrams_do_not_reach_over_the_end_of_a_caption_and_short_ones_have_none() -> None:
    assert score("a", "b c", max_n=3) == {
        "Distinct-1": 1.0,
        "Distinct-2": pytest.approx(1 / 3),
        "Distinct-3": 0.0,
        "VocabularySize": 3.0,
        "DistinctCaptions": 1.0,
    }


def test_empty_captions_score_zero_and_no_captions_are_refused() -> None:
    assert score("", "")["Distinct-1"] == 0.0
    with pytest.raises(DataError, match="no captions"):
        score()
