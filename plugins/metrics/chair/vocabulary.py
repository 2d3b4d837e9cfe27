"""The words by which captions name objects: names and synonyms, their plurals, and pairs with a meaning of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
}
# Persons elsewhere, but not before these words: a baby elephant is an elephant, a passenger train a train.
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
_NO_PERSONS = {"baby": _ANIMALS, "adult": _ANIMALS, "passenger": ("jet", "train")}
# Pairs whose words mean something else: the word that the pair counts as, where that is a name.
_PAIRS = {
    **{f"{person} {word}": word for person, words in _NO_PERSONS.items() for word in words},
    "bow tie": "tie",
    "toilet seat": "toilet",
    "home plate": "",
}


class Vocabulary:
    """Finds the objects that a tokenized caption names."""

    def __init__(self, objects: Iterable[Sequence[str]]) -> None:
        """`objects`: the words for each object, the first of which is its name."""
        self.names: dict[str, str] = {}
        for words in objects:
            for word in words:
                self.names[word.lower()] = words[0].lower()
        meant = {**_PAIRS, **{word: word for word in self.names}}
        self._most = max((len(name.split()) for name in meant), default=1)
        self._meant: Mapping[str, str] = {form: word for base, word in meant.items() for form in _forms(base)}

    def objects_in(self, caption: str) -> list[str]:
        """The objects that the tokens of a caption name, one for each mention; the longest names are found first."""
        words = caption.split()
        found: list[str] = []
        start = 0
        while start < len(words):
            size = next((n for n in range(self._most, 0, -1) if self._at(words, start, n) is not None), 1)
            found.append(self._at(words, start, size) or "")
            start += size
        if "toilet" in found:  # its seat is no seat to sit on
            found = [word for word in found if word != "seat"]
        return [self.names[word] for word in found if word in self.names]

    def _at(self, words: Sequence[str], start: int, size: int) -> str | None:
        return self._meant.get(" ".join(words[start : start + size])) if start + size <= len(words) else None


def _forms(phrase: str) -> tuple[str, str]:
    """A word or phrase, and its plural."""
    *before, last = phrase.split(" ")
    return phrase, " ".join([*before, _plural(last)])


def _plural(word: str) -> str:
    if word.endswith(("human", "german", "roman")):
        return f"{word}s"
    ending = next((each for each in _IRREGULAR if word == each or (len(each) > 2 and word.endswith(each))), None)
    if ending is not None:
        return word.removesuffix(ending) + _IRREGULAR[ending]
    if re.search(r"(?:[sxz]|ch|sh)$", word):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    if re.search(r"(?:[^aeiou]i|[^aeiouf])fe$|(?:ea|oa|l|r)f$", word):
        return re.sub(r"fe?$", "ves", word)
    return f"{word}es" if re.search(r"(?:tat|mat|her)o$", word) else f"{word}s"
