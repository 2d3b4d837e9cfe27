"""Penn Treebank tokenisation of captions as in coco-caption, without Java.

pycocoevalcap runs Stanford's PTBTokenizer (CoreNLP 3.4.1, `-preserveLines -lowerCase`) over all captions, one per line,
and removes punctuation. This module returns the same tokens; a test compares the two on every available caption.

The lexer tries all rules at every position. The rule that reaches furthest wins, its lookahead included; among equals the
first wins. So the rules are a table, and one regular expression tries them all and records how far each reaches.

The lexer works on chunks of captions and caches their tokens. Chunks end at the spaces that no rule can look across
(`CHUNK_END`), so a chunk has the same tokens in every caption.

Scores depend on two oddities of the original, which are kept. Brackets become the words "-lrb-" and "-rrb-". The last
full stop of "... that reads K." belongs to the K or not, depending on whether the next caption begins like a sentence
(`following`). A third oddity is not kept: after a caption with a line break other than a line feed, Java gives every later
caption the tokens of another one. Here such a line break is white space.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from .ptb_rules import ABBREVIATION_OF_NUMBERED, CASED, CASED_WORD, RULES, SPACE

TOKENIZER = "ptb (capfw, no Java)"  # its name in signatures and files
# coco-caption also lists "-LRB-" and the like in capitals, which never match: all tokens are lower case.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
LINE_BREAK = re.compile(r"[\r\n\u2028\u2029\x0b\x0c\x85]")
OPEN_END = re.compile(rf"(?<![A-Za-z])(?:[A-Za-z]\.|{ABBREVIATION_OF_NUMBERED})\s*$")
# Rules that look across a space: tags (captions with "<" are one chunk), "No. 5", "3 1/2", "(555) 123 4567", "Co. Ltd.",
# ". . ." and "K. The". No rule does so (1) before a letter from a to z other than "l"; (2) after an ASCII character other
# than white space, a full stop, a digit or a closing bracket; (3) after a digit or a closing bracket, before ASCII
# punctuation or letters. A space before another one is no end. Each line of the pattern is one of the three.
CHUNK_END = re.compile(
    r" (?=[a-km-z])"
    rf"|(?<=[!-(*-\-/:;=-~]) (?!{SPACE})"
    r"|(?<=[0-9)]) (?=[!-\-/:;=-~])"
)
SPACES = re.compile(f"{SPACE}+")
# Two groups per rule: the token, and an empty group after the rule's lookahead.
LEXER = re.compile("".join(rf"(?:(?=({rule.pattern}){rule.before}())|)" for rule in RULES))


def tokenize_all(captions: Iterable[str]) -> list[str]:
    """Tokenizes captions in the given order; each sees the next one, as in one run of the Java tokenizer."""
    captions = list(captions)
    following, tokenized = "", []
    for caption in reversed(captions):
        is_open = caption.rstrip().endswith(".") and OPEN_END.search(caption)
        tokenized.append(tokenize(caption, following if is_open else ""))
        following = caption if caption.strip() else following
    return tokenized[::-1]


def tokenize(caption: str, following: str = "") -> str:
    """Returns the lower-case tokens of one caption, without punctuation, joined by single spaces.

    `following` is the caption on the next line. A token such as "3 1/2" contains a no-break space.
    """
    caption = LINE_BREAK.sub(" ", caption)
    chunks = [caption] if "<" in caption else CHUNK_END.split(caption)
    last = _tokenize_chunk(chunks.pop(), f"\n{following}\n")
    return " ".join(filter(None, [*map(_tokenize_chunk, chunks), last]))


@lru_cache(maxsize=2**18)
def _tokenize_chunk(chunk: str, after: str = " x") -> str:
    """Returns the tokens of a chunk before the text `after`: another chunk, or the end of the line and the next one."""
    if (chunk + after).isascii():
        tokens = list(_tokens(chunk + after, len(chunk)))
    else:
        units = _code_units(chunk)
        tokens = [_characters(token) for token in _tokens(units + _code_units(after), len(units))]
    if tokens and after.startswith("\n"):
        tokens[-1] = tokens[-1].rstrip()  # coco-caption strips the line: addresses can end in a no-break space
    return " ".join(token for token in map(lower_case, tokens) if token and token not in PUNCTUATION)


def lower_case(token: str) -> str:
    """Returns the token in lower case. A capital sigma at the end of a cased word is "\u03c2", as Java finds such ends."""
    if "\u03a3" in token:
        token = CASED_WORD.sub(_with_small_sigmas, token)
    return token.lower()


def _with_small_sigmas(word: re.Match[str]) -> str:
    letters = word[0]
    cased = [place for place, letter in enumerate(letters) if CASED.fullmatch(letter)]
    final = cased[-1] if len(cased) > 1 else -1
    return "".join(
        ("\u03c2" if place == final else "\u03c3") if letter == "\u03a3" else letter
        for place, letter in enumerate(letters)
    )


def _code_units(text: str) -> str:
    """Returns the text in UTF-16 code units, as Java counts: a character beyond U+FFFF becomes two."""
    return "".join(chr(unit) for (unit,) in struct.iter_unpack("<H", text.encode("utf-16-le", "surrogatepass")))


def _characters(units: str) -> str:
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _tokens(text: str, end: int) -> Iterator[str]:
    position = 0
    while position < end:
        match = LEXER.match(text, position)
        assert match is not None, "every rule in it is optional"
        reaches = match.regs[2::2]
        furthest = max(reaches)
        if furthest[1] > position:
            winner = reaches.index(furthest)
            yield RULES[winner].token_of(match.group(2 * winner + 1))
            position = match.end(2 * winner + 1)
        else:
            spaces = SPACES.match(
                text, position
            )  # together: a host may begin with a no-break space, but not after a space
            position = spaces.end() if spaces else position + 1  # the lexer drops an unknown character
