"""The arithmetic of distinct-n; it needs only the standard library."""

from __future__ import annotations

import re

from capfw.core.protocols import Captioned, DataError, Scores

from . import DistinctConfig

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")  # "dog's" and "t-shirt" are one word each; signs are no words


class Distinct:
    """The variety of all candidates together; one image has none, so there is no value per image."""

    def __init__(self, config: DistinctConfig) -> None:
        self.max_n = config.max_n

    def score(self, captioned: Captioned) -> Scores:
        """Counts n-grams, words and captions of the candidates. Raises `DataError` when there are no candidates."""
        candidates = captioned.candidates
        if not candidates:
            raise DataError("there are no captions to count.", where="candidates")
        captions = [tuple(WORD.findall(caption.lower())) for caption in candidates.values()]
        num_words = sum(map(len, captions))
        scores = {}
        for n in range(1, self.max_n + 1):
            ngrams = {words[i : i + n] for words in captions for i in range(len(words) - n + 1)}
            scores[f"Distinct-{n}"] = len(ngrams) / num_words if num_words else 0.0
        scores["VocabularySize"] = float(len({word for words in captions for word in words}))
        scores["DistinctCaptions"] = len(set(captions)) / len(captions)
        return Scores(scores)

    def signature(self) -> dict[str, str]:
        """The tokenizer and the definition of the score."""
        return {"distinct": "lower-case words without signs; n-grams divided by the number of words"}
