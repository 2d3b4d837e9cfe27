"""Asks the Java tokenizer which words it treats as abbreviations and the like, and writes `ptb_observed.json`.

python tests/metrics/observe_abbreviations.py

Each question is a caption around a word, asked for every candidate: all combinations of one to four letters, the words
of the captions under `shared/data`, GPT-2's vocabulary where it is there, and what the file has already. The answer is
whether the word came back as one token. Nothing but these answers goes into the file.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase

from capfw.plugins.metrics.coco_caption.java import package_file

ROOT = Path(__file__).parents[2]
OBSERVED = ROOT / "plugins" / "metrics" / "coco_caption" / "ptb_observed.json"
DATA = ROOT.parent / "shared" / "data"
# pycocoevalcap removes these tokens afterwards; its brackets are upper case and match nothing.
REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])


class JavaTokenizer:
    """Stanford's PTBTokenizer, as pycocoevalcap calls it."""

    name = "pycocoevalcap 1.2 PTBTokenizer (Stanford CoreNLP 3.4.1)"

    def lines(self, captions: Sequence[str]) -> list[str]:
        """Tokens of each caption, joined by spaces, in one run over all of them in this order."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "captions.txt"
            file.write_text("".join(caption.replace("\n", " ") + "\n" for caption in captions), "utf-8", newline="")
            jar = str(package_file("tokenizer/stanford-corenlp-3.4.1.jar"))
            command = ["java", "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
            done = subprocess.run([*command, str(file)], capture_output=True, check=True)
        lines = done.stdout.decode().split("\n")[:-1]
        if len(lines) != len(captions):
            raise ValueError(f"Java answered {len(captions)} captions with {len(lines)} lines: one has a line break.")
        return [line.rstrip() for line in lines]


JAVA = JavaTokenizer()


def without_punctuation(line: str) -> str:
    """Tokens that pycocoevalcap keeps."""
    return " ".join(token for token in line.split(" ") if token not in REMOVED)


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
    "contraction": Question("x {} y", "x {} y"),
}
MINUS = {  # what one answer leaves for another
    "keeps_its_stop": "keeps_its_stop_before_letters",
    "keeps_its_stop_before_a_number": "keeps_its_stop",
}
CURLY = "\u2019"
# Contractions that rules for any letters keep in one piece, and so prove nothing about the word.
OF_ANY_LETTERS = re.compile(r"[a-z]+[aeiouy]'[aeiou][a-z]*|[dol]'.*|n'[a-z]{2,}|'.*|.*'|o'o")


def observe(question: Question, words: Iterable[str]) -> list[str]:
    """Which words, written small, with a capital, or in capitals, are answered yes; as `pattern_of` writes them."""
    forms = [
        form
        for word in sorted(words)  # contractions only small: with a capital, any "x'Y" is like O'Brien
        for form in dict.fromkeys((word,) if "'" in word else (word, word.title(), word.upper()))
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
    found_before = {word_of(pattern) for question in QUESTIONS for pattern in known.get(question, [])}
    contractions = {word for word in found_before if "'" in word}
    words = found_before - contractions
    if name == "contraction":
        short = [word for word in vocabulary if 1 < len(word) < 6]
        halves = {f"{letter}'{word}" for letter in ascii_lowercase for word in short}
        halves |= {f"{word}'{ending}" for word in short for ending in ascii_lowercase}
        return {word for word in contractions | halves if not OF_ANY_LETTERS.fullmatch(word)}
    letters = {"".join(combination) for n in (1, 2, 3, 4) for combination in product(ascii_lowercase, repeat=n)}
    if name == "file_extension":
        letters |= {f"{a}{b}{digit}" for a, b in product(ascii_lowercase, repeat=2) for digit in range(10)}
    if not name.startswith("keeps_its_stop"):
        return words | letters | vocabulary
    letters |= {f"{a}{b}.{c}" for a, b, c in product(ascii_lowercase, repeat=3)}
    return {
        word for word in words | letters | vocabulary | contractions if len(word) > 1
    }  # any single letter keeps its stop


def observe_splits(words: Iterable[str]) -> list[str]:
    """Words that come back as two: "can not"."""
    asked = sorted(words)
    lines = JAVA.lines([f"x {word} y" for word in asked])
    return [line[2:-2] for word, line in zip(asked, lines, strict=True) if line != f"x {word} y"]


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


CLASSES: Mapping[str, Question] = {  # of characters; each leaves out those before it
    "digit": Question("x +{} x", "x +{} x"),
    "letter": Question("x-{} x", "x-{} x"),
    "mark": Question("x {0}ab{0}cd x", "x {0}ab{0}cd x"),
}


def observe_classes() -> Iterator[tuple[str, list[str]]]:
    """Ranges of characters up to U+FFFF that the tokenizer takes for digits, letters, and other parts of words."""
    characters = [chr(c) for c in range(0x21, 0x10000) if not 0x7F <= c <= 0xA0 and not 0xD800 <= c < 0xE000]
    characters = [c for c in characters if c not in "\u1680\u2028\u2029"]
    for name, question in CLASSES.items():
        lines = JAVA.lines([question.asked.format(c) for c in characters])
        wanted = re.sub(r"\\\{0?\\\}", "[^ ]{1,2}", re.escape(question.expected))  # "\u0130" is two when lower case
        is_in = [bool(re.fullmatch(wanted, line)) for line in lines]
        yield name, list(ranges(c for c, yes in zip(characters, is_in, strict=True) if yes))
        characters = [c for c, yes in zip(characters, is_in, strict=True) if not yes]


def ranges(characters: Iterable[str]) -> Iterator[str]:
    """Code points in hexadecimal, "0030-0039" or "00aa"."""
    start = last = -2
    for code in [*map(ord, characters), -1]:
        if code != last + 1:
            if start >= 0:
                yield f"{start:04x}" if start == last else f"{start:04x}-{last:04x}"
            start = code
        last = code


def observe_all(
    choose: Callable[[str, set[str]], set[str]] = lambda name, words: words,
) -> dict[str, list[str]]:
    """Answers to all questions; `choose` may cut the candidates of one down to a sample."""
    known = json.loads(OBSERVED.read_text("utf-8")) if OBSERVED.exists() else {}
    known.pop("made_with", None)
    vocabulary = vocabulary_at_hand()
    found = {
        name: observe(question, choose(name, candidates(name, vocabulary, known)))
        for name, question in QUESTIONS.items()
    }
    split = {word.replace(" ", "") for word in known.get("split", [])}
    found["split"] = observe_splits(choose("split", split | vocabulary))
    curly = [word.replace("'", CURLY) for word in found["contraction"]]
    lines = JAVA.lines([f"x {word} y" for word in curly])
    kept = [line.count(" ") == 2 for line in lines]
    found["contraction_with_a_curly_apostrophe"] = [w for w, k in zip(found["contraction"], kept, strict=True) if k]
    split = {word.replace(" ", "") for word in known.get("split", [])}
    found["split"] = observe_splits(choose("split", split | vocabulary))
    found["contraction_with_a_curly_apostrophe"] = [
        word
        for word in found["contraction"]
        if without_punctuation(JAVA.lines([f"x {word.replace(chr(39), CURLY)} y"])[0]).count(" ") == 2
    ]
    left = {name: [w for w in words if w not in found.get(MINUS.get(name, ""), [])] for name, words in found.items()}
    return {**left, **dict(observe_classes())}


def main() -> None:
    """Writes the file anew."""
    observed = {"made_with": f"{JAVA.name}, tests/metrics/observe_abbreviations.py", **observe_all()}
    OBSERVED.write_text(json.dumps(observed, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
