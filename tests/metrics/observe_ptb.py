"""Asks the Java tokenizer about words and characters, and writes `ptb_observed.json`: the lists of our tokenizer's rules.

python -m tests.metrics.observe_ptb

Each question is a caption around a word, asked for every candidate: all combinations of one to four letters, the words
of the captions under `shared/data`, GPT-2's vocabulary where it is there, and what the file has already. The answer is
whether the word came back as one token. `observe_characters.py` asks about every character up to U+FFFF in the same
way. Nothing but these answers goes into the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html.entities import name2codepoint as ENTITIES
from itertools import product
from pathlib import Path
from string import ascii_lowercase, punctuation

from .java_tokenizer import JAVA
from .observe_characters import observe_classes, observe_replacements

ROOT = Path(__file__).parents[2]
OBSERVED = ROOT / "plugins" / "libraries" / "ptb_observed.json"
DATA = Path(os.environ.get("CAPFW_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Question:
    """`asked` has the word at {}; the answer is yes if the tokens are `expected`, where the word is lower case."""

    asked: str
    expected: str

    def answers(self, words: Sequence[str]) -> list[bool]:
        """Yes or no for each word, as it is written."""
        lines = JAVA.lines([self.asked.format(word) for word in words])
        return [line == self.expected.format(word.lower()) for word, line in zip(words, lines, strict=True)]


QUESTIONS: Mapping[str, Question] = {
    "keeps_its_stop": Question("x {}. y", "x {}. y"),
    "keeps_its_stop_before_letters": Question("x {}.a y", "x {}. a y"),
    "keeps_its_stop_before_a_number": Question("x {}. 5 y", "x {}. 5 y"),
    "opens_a_sentence": Question("x K. {} y", "x k . {} y"),
    "opens_a_sentence_with_a_stop": Question("x K. {}. y", "x k . {}. y"),
    "file_extension": Question("x 1a.{} y", "x 1a.{} y"),
    "top_level_domain": Question("x \xa9.{} y", "x \xa9.{} y"),
    "keeps_an_apostrophe_after_it": Question("x {}' y", "x {}' y"),
    "keeps_an_apostrophe_before_it": Question("x '{}x y", "x '{} x y"),
    "keeps_a_hyphen_after_it": Question("x {}- y", "x {}- y"),
    "keeps_an_apostrophe_before_a_word": Question("x {}'ball y", "x {}' ball y"),
    "keeps_both_apostrophes": Question("x '{}' y", "x '{}' y"),
    "contraction": Question("x {} y", "x {} y"),
    "decade": Question("x '{} y", "x '{} y"),
    "auxiliary": Question("x dog'{} y", "x dog '{} y"),
    "negation": Question("x xo{} y", "x xo {} y"),
    "acronym_with_a_hyphen": Question("x {} y", "x {} y"),
    "word_with_signs": Question("x {} y", "x {} y"),
    "word_with_an_ampersand": Question("x {} y", "x {} y"),
    "name_of_a_bracket": Question("x -{}- y", "x -{}- y"),
    "entity_of_a_letter": Question("x b&{};b y", "x b&{};b y"),
}
MINUS: Mapping[str, Sequence[str]] = {  # the answers that one question leaves to others
    "keeps_its_stop": ["keeps_its_stop_before_letters"],
    "keeps_its_stop_before_a_number": ["keeps_its_stop"],
    "keeps_an_apostrophe_before_a_word": ["keeps_an_apostrophe_after_it"],
    "auxiliary": ["keeps_an_apostrophe_before_it", "keeps_both_apostrophes"],
}
STRAIGHT, CURLY = "'", "\u2019"
# Contractions that rules for any letters keep in one piece, and so prove nothing about the word.
OF_ANY_LETTERS = re.compile(r"[a-z]+[aeiouy]'[aeiou][a-z]*|[dol]'.*|n'[a-z]{2,}|'.*|.*'|o'o")


OF_OTHER_RULES = re.compile(r"[?!]{2}|([-#*@_`])\1|[:;=].|@_")  # repeated characters, smileys, names


def observe(question: Question, words: Iterable[str]) -> list[str]:
    """Which words, written small, with a capital, or in capitals, are answered yes; as `pattern_of` writes them."""
    forms = [
        form
        for word in sorted(words)  # "x'y" and "x&y" only small: with capitals, any of them is like O'Brien or AT&T
        for form in dict.fromkeys((word,) if {"'", "&"} & set(word) else (word, word.title(), word.upper()))
    ]
    found: dict[str, str] = {}
    for form, is_one in zip(forms, question.answers(forms), strict=True):
        if is_one:
            found.setdefault(form.lower(), form)
    flipped = [(word, place) for word in found for place, letter in enumerate(word) if letter.isalpha()]
    asked = [found[word][:place] + found[word][place].swapcase() + found[word][place + 1 :] for word, place in flipped]
    in_any_case = {pair for pair, is_one in zip(flipped, question.answers(asked), strict=True) if is_one}
    return sorted(
        pattern_of(found[word], [(word, i) in in_any_case or not letter.isalpha() for i, letter in enumerate(word)])
        for word in found
    )


def pattern_of(form: str, in_any_case: Sequence[bool]) -> str:
    """The word in small letters if any letter may have any case, and otherwise a pattern such as "A(?i:rk)"."""
    if all(in_any_case):
        return form.lower()
    pattern = "".join(
        f"(?i:{re.escape(c.lower())})" if a else re.escape(c) for c, a in zip(form, in_any_case, strict=True)
    )
    return pattern.replace(")(?i:", "")


def word_of(pattern: str) -> str:
    """The word that `pattern_of` wrote."""
    return pattern.replace("(?i:", "").replace(")", "").replace("\\", "").lower()


def candidates(name: str, vocabulary: set[str], known: Mapping[str, list[str]]) -> set[str]:
    """Words to ask question `name` about."""
    found_before = {word_of(pattern) for pattern in known.get(name, [])}
    if name in COMBINATIONS:
        return found_before | COMBINATIONS[name](vocabulary)
    words = {
        word_of(pattern)
        for question in QUESTIONS
        if question not in COMBINATIONS
        for pattern in known.get(question, [])
    }
    words |= vocabulary | combinations(1, 2, 3, 4)
    if name == "file_extension":
        words |= {f"{a}{b}{digit}" for a, b in product(ascii_lowercase, repeat=2) for digit in range(10)}
    if not name.startswith("keeps_its_stop"):
        return {word for word in words if word.isalnum()}
    words |= {f"{a}{b}.{c}" for a, b, c in product(ascii_lowercase, repeat=3)}
    words |= {word_of(pattern) for pattern in known.get("contraction", [])}
    return {word for word in words if len(word) > 1}  # any single letter keeps its stop


def combinations(*lengths: int) -> set[str]:
    """All combinations of as many letters from a to z."""
    return {"".join(letters) for length in lengths for letters in product(ascii_lowercase, repeat=length)}


def _contractions(vocabulary: set[str]) -> set[str]:
    short = [word for word in vocabulary if 1 < len(word) < 6]
    halves = {f"{letter}'{word}" for letter in ascii_lowercase for word in short}
    halves |= {f"{word}'{ending}" for word in short for ending in ascii_lowercase}
    return {word for word in halves if not OF_ANY_LETTERS.fullmatch(word)}


def _negations(vocabulary: set[str]) -> set[str]:
    return {
        f"{a}'{b}" for a, b in product(combinations(1, 2), repeat=2) if a != "n" or len(b) == 1
    }  # n'ab is like O'Brien


def _acronyms(vocabulary: set[str]) -> set[str]:
    pairs = [".".join(letters) for letters in sorted(combinations(2))]
    longer = {f"u.s.-{'.'.join(letters)}" for letters in combinations(3, 4)}
    return (
        {f"{a}.-{b}" for a, b in product(pairs, repeat=2)}
        | longer
        | {f"{w}-u.s" for w in vocabulary | combinations(2, 3, 4)}
    )


def _with_signs(vocabulary: set[str]) -> set[str]:
    signs = set(punctuation) - set("'.$@_")  # these make words of any letter: d', a., A$, a@-, x_=
    suffixes = [*signs, *map("".join, product(signs, repeat=2))]
    return {f"{word}{suffix}" for word in (*combinations(1, 2),) for suffix in suffixes}


def _with_an_ampersand(vocabulary: set[str]) -> set[str]:
    numbers = (1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 400, 500, 600, 1000)
    halves = combinations(1, 2)
    with_number = {f"{a}&{b}-{n}" for a, b in product(ascii_lowercase, repeat=2) for n in numbers}
    return with_number | {f"{a}&{b}" for a in halves for b in halves}


COMBINATIONS: Mapping[
    str, Callable[[set[str]], set[str]]
] = {  # candidates that are not words; each gets the vocabulary
    "contraction": _contractions,
    "decade": lambda vocabulary: {f"{n:02}{letter}" for n in range(100) for letter in ascii_lowercase},
    "negation": _negations,
    "acronym_with_a_hyphen": _acronyms,
    "word_with_signs": _with_signs,
    "word_with_an_ampersand": _with_an_ampersand,
    "entity_of_a_letter": lambda vocabulary: {
        f"{a}{entity.lower()[1:]}" for a, entity in product(ascii_lowercase, ENTITIES)
    },
}


def observe_splits(words: Iterable[str], kept: Iterable[str]) -> list[str]:
    """Words that come back as two: "can not", "'t was". Those after an apostrophe do not begin with a word of `kept`."""
    asked = sorted(words)
    split = [
        line[2:-2]
        for word, line in zip(asked, JAVA.lines([f"x {w} y" for w in asked]), strict=True)
        if " " in line[2:-2]
    ]
    lines = JAVA.lines([f"x '{word} y" for word in asked])
    pairs = [line[2:-2].split(" ") for line in lines]
    split += [" ".join(pair) for pair in pairs if len(pair) == 2 and len(pair[0]) > 1 and pair[0][1:] not in kept]
    return [pair for pair in split if not any(pair != other and pair.startswith(other) for other in split)]


def observe_entities(names: Iterable[str]) -> dict[str, str]:
    """The token of each entity that is one token, or "" for none, small and in capitals: "amp" is "&"."""
    asked = sorted(names)
    found = {
        name for name, line in zip(asked, JAVA.lines([f"x &{n}; y" for n in asked]), strict=True) if line.count(" ") < 3
    }
    forms = [form for name in sorted(found) for form in (name, name.upper())]
    return {form: line[2:-2] for form, line in zip(forms, JAVA.lines([f"x &{f}; y" for f in forms]), strict=True)}


def observe_pairs(choose: Callable[[str, set[str]], set[str]]) -> list[str]:
    """Pairs of ASCII punctuation that are one token, also several of them in a row."""
    pairs = choose("punctuation", {a + b for a, b in product(punctuation, repeat=2)})
    rows = [pair * n for pair in sorted(pairs) if not OF_OTHER_RULES.fullmatch(pair) for n in (1, 2, 3, 4)]
    lines = JAVA.lines([f"x {row} y" for row in rows])
    return [row for row, line in zip(rows, lines, strict=True) if line == f"x {row} y"]


def vocabulary_at_hand(data: Path = DATA) -> set[str]:
    """Words of all captions, and of GPT-2's vocabulary, in small letters."""
    text = " ".join(
        annotation["caption"]
        for file in sorted(data.glob("*/captions_*.json")) + sorted(data.glob("*/annotations/captions_*.json"))
        for annotation in json.loads(file.read_text("utf-8"))["annotations"]
    )
    words = set(re.findall("[a-z]+", text.lower()))
    for file in data.glob("gpt2_tokenizer/vocab.json"):
        words |= {word.strip("\u0120").lower() for word in json.loads(file.read_text("utf-8"))}
    return {word for word in words if re.fullmatch("[a-z]+", word)}


def observe_all(choose: Callable[[str, set[str]], set[str]] = lambda name, words: words) -> dict[str, object]:
    """Answers to all questions; `choose` may cut the candidates of one down to a sample."""
    known = json.loads(OBSERVED.read_text("utf-8")) if OBSERVED.exists() else {}
    vocabulary = vocabulary_at_hand()
    asked = {name: choose(name, candidates(name, vocabulary, known)) for name in QUESTIONS}
    found = {name: observe(question, asked[name]) for name, question in QUESTIONS.items()}
    known_splits = {word.replace(" ", "").strip("'") for word in known.get("split", [])}
    kept = {word_of(pattern) for pattern in found["keeps_an_apostrophe_before_it"]}
    found["split"] = observe_splits(choose("split", known_splits | vocabulary | combinations(1, 2, 3, 4)), kept)
    lines = JAVA.lines([f"x {word.replace(STRAIGHT, CURLY)} y" for word in found["contraction"]])
    found["contraction_with_a_curly_apostrophe"] = [
        word for word, line in zip(found["contraction"], lines, strict=True) if line.count(" ") == 2
    ]
    others = {name: {word for other in MINUS.get(name, ()) for word in found[other]} for name in found}
    left = {name: [word for word in words if word not in others[name]] for name, words in found.items()}
    entities = choose("entity", vocabulary | combinations(1, 2, 3, 4) | set(map(str.lower, ENTITIES)))
    return {
        **left,
        "punctuation": observe_pairs(choose),
        "entity": observe_entities(entities - {word_of(pattern) for pattern in found["entity_of_a_letter"]}),
        "replaced": observe_replacements(choose),
        **observe_classes(choose),
    }


def main() -> None:
    """Writes the file anew."""
    observed = {"made_with": f"{JAVA.name}, tests/metrics/observe_ptb.py", **observe_all()}
    OBSERVED.write_text(json.dumps(observed, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
