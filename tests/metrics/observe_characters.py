"""Asks the Java tokenizer which characters it treats alike: letters, spaces, parts of numbers, ends of addresses, ..."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .java_tokenizer import JAVA

LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
CHARACTERS = {chr(c) for c in range(0x10000) if not 0xD800 <= c < 0xE000 and chr(c) not in LINE_BREAKS}


@dataclass(frozen=True)
class CharacterQuestion:
    """`asked` has the character at {0}; the answer is yes if the tokens match the pattern `expected`.

    {0} in `expected` is the character, lower case. By default the tokens are the words of `asked`, lower case. `but`
    names classes whose characters are left out, because they are tokens of another kind.
    """

    asked: str
    expected: str = ""
    but: Sequence[str] = ()

    def answers(self, characters: Sequence[str]) -> list[bool]:
        """Yes or no for each character."""
        as_asked = "{0}".join(re.escape(part.lower()) for part in self.asked.split("{0}")).replace(r"\ ", " ")
        lines = JAVA.lines([self.asked.replace("{0}", c) for c in characters])
        return [
            bool(re.fullmatch((self.expected or as_asked).replace("{0}", _pattern(c)), line))
            for c, line in zip(characters, lines, strict=True)
        ]


def _pattern(character: str) -> str:
    """A pattern of the character in a token: lower case, or as it is where Java's Unicode is older than Python's.

    A space is never part of a token.
    """
    either = f"(?:{re.escape(character.lower())}|{re.escape(character)})"
    return {" ": "(?!)", "Σ": "[σς]"}.get(character, either)


Q = CharacterQuestion
WORD = ("digit", "letter", "mark")
CLASSES: Mapping[str, CharacterQuestion] = {
    "digit": Q("x +{0} x"),
    "letter": Q("x-{0} x", but=["digit"]),
    "mark": Q("x {0}ab{0}cd x", but=["digit", "letter"]),
    "symbol": Q("x {0} y", but=WORD),
    "space": Q("x canada-u.s{0}y", "x canada-u.s y"),
    "soft_hyphen": Q("x a{0}b y", "x ab y"),
    "inside_a_word": Q("x é\u0301{0}é\u0301 y", but=WORD),
    "between_words": Q("x é{0}é y", but=[*WORD, "inside_a_word"]),
    "before_a_hyphen": Q("x a{0}.-c y", but=[*WORD, "between_words"]),
    "between_capitals": Q(
        "x <AB{0}CD{0}EF{0}GH> y", "x < ab{0}cd{0}ef{0}gh > y", [*WORD, "inside_a_word", "between_words"]
    ),
    "letter_before_a_negation": Q("x b{0}n't y", "x b{0} n't y"),
    "apostrophe": Q("x dog{0}s y", "x dog 's y"),
    "apostrophe_in_a_negation": Q("x don{0}t y", "x do n.t y"),
    "quote": Q("x «{0} y", "x ``[`']+ y"),
    "initial_before_an_apostrophe": Q("x {0}'brien y"),
    "letter_before_an_apostrophe": Q("x é{0}'iq y"),
    "letter_after_an_apostrophe": Q("x éa'{0}q y"),
    "elided": Q("x {0}'12 y"),
    "inside_a_number": Q("x +1{0}1 y", but=["digit"]),
    "sign": Q("x {0}5.5 y", but=[*WORD, "inside_a_number"]),
    "between_number_and_fraction": Q("x ٣{0}1\u20442 y", "x ٣[^ ]1.2 y", but=["digit"]),
    "inside_a_fraction": Q("x 3 1{0}2 y", "x 3\xa01{0}2 y"),
    "inside_a_date": Q("x ٣/1{0}11 y", but=["digit"]),
    "after_an_area_code": Q("x (55){0}123-4567 y", r"x -lrb-55-rrb-[^ \d]123-4567 y"),
    "inside_a_phone_number": Q("x (55)123{0}4567 y", r"x -lrb-55-rrb-123[^ \d]4567 y"),
    "superscript_digit": Q("x ¹{0} y", but=WORD),
    "subscript_digit": Q("x ₁{0} y", but=WORD),
    "small_sign": Q("x {0}¹ y", but=[*WORD, "superscript_digit"]),
    "before_a_dollar": Q("x {0}$ y"),
    "repeated": Q("x {0}{0}{0}{0}{0} y", but=[*WORD, "superscript_digit", "subscript_digit"]),
    "exclamation": Q("x ?{0}? y", but=WORD),
    "inside_a_sentence": Q("x dog.{0} y", r"x dog\. {0} y"),
    "after_a_file_name": Q("x 1a.txt{0} y", r"x 1a\.txt \S+ y"),
    "smiley_hat": Q("x {0}:) y", "x {0}:-rrb- y"),
    "smiley_eyes": Q("x {0}) y", "x {0}-rrb- y"),
    "smiley_nose": Q("x :{0}) y", "x :{0}-rrb- y"),
    "smiley_mouth": Q("x :{0} y", "x :(?:{0}|-[lr]rb-) y", but=["digit"]),
    "left_eye": Q("x {0}_^ y"),
    "right_eye": Q("x ^_{0} y"),
    "nose_in_brackets": Q("x (-{0}-) y", "x -lrb--{0}--rrb- y"),
    "left_eye_beside_a_hyphen": Q("x ({0}-^) y", r"x -lrb-{0}-\^-rrb- y"),
    "right_eye_beside_a_hyphen": Q("x (^-{0}) y", r"x -lrb-\^-{0}-rrb- y"),
    "handle_start": Q("x @{0}5 y"),
    "inside_a_handle": Q("x @a{0} y"),
    "tag_opener": Q("x <{0}a (v)> y", r"x <{0}a\xa0\(v\)> y"),
    "after_a_tag_opener": Q("x <!{0} (v)> y", r"x <!{0}\xa0\(v\)> y"),
    "tag_start": Q("x <{0}a b> y", r"x <{0}a\xa0b> y", but=["tag_opener"]),
    "inside_a_tag_name": Q("x </a{0}b> y"),
    "email_start": Q("x {0}.@b y"),
    "cased": Q("x {0}Σ y", r"x \S*ς y", but=["digit"]),
    "inside_a_cased_word": Q("x a{0}Σ y", r"x \S*ς y"),
    "part_of_a_cased_word": Q("x a{0}{0}Σ y", r"x \S*ς y"),
}
EXCLUDED: Mapping[str, CharacterQuestion] = {  # the characters of which the answer is no
    "outside_a_url": Q("x http://a{0}b y"),
    "outside_the_end_of_a_url": Q("x http://a{0} y"),
    "outside_a_path": Q("x www.a.com/a{0}b y"),
    "outside_the_end_of_a_path": Q("x www.a.com/a{0} y"),
    "outside_a_host": Q("x ©{0}©.com y"),
    "outside_a_www_host": Q("x www.©{0}©.zz y"),
    "outside_an_email": Q("x a{0}b@c y"),
    "outside_the_host_of_an_email": Q("x a@b{0}b y"),
}


def observe_classes(choose: Callable[[str, set[str]], set[str]]) -> dict[str, list[str]]:
    """Ranges of characters up to U+FFFF by class; `choose` may cut the characters of a class down to a sample."""
    found: dict[str, set[str]] = {}
    for name, question in {**CLASSES, **EXCLUDED}.items():
        left_out = {c for other in question.but for c in found[other]}
        asked = sorted(choose(name, CHARACTERS) - left_out)
        found[name] = {
            c for c, is_one in zip(asked, question.answers(asked), strict=True) if is_one == (name in CLASSES)
        }
    return {name: list(ranges(sorted(characters))) for name, characters in found.items()}


def observe_replacements(choose: Callable[[str, set[str]], set[str]]) -> dict[str, str]:
    """The token of each character that alone becomes another one, such as "cents"; "" where it becomes none."""
    asked = sorted(choose("replaced", CHARACTERS))
    lines = zip(asked, JAVA.lines([f"x {c} y" for c in asked]), strict=True)
    tokens = {c: line[2:-2] for c, line in lines if line.count(" ") == 2}
    return {c: token for c, token in tokens.items() if token not in (c, c.lower(), "ς")}


def ranges(characters: Iterable[str]) -> Iterator[str]:
    """Code points in hexadecimal, "0030-0039" or "00aa"."""
    start = last = -2
    for code in [*map(ord, characters), -1]:
        if code != last + 1:
            if start >= 0:
                yield f"{start:04x}" if start == last else f"{start:04x}-{last:04x}"
            start = code
        last = code


def characters_of(observed: Iterable[str]) -> set[str]:
    """The characters that `ranges` wrote."""
    ends = [codes.split("-") for codes in observed]
    return {chr(code) for codes in ends for code in range(int(codes[0], 16), int(codes[-1], 16) + 1)}
