"""Penn Treebank tokenisation of captions as coco-caption does it, without Java.

pycocoevalcap runs Stanford's PTBTokenizer (CoreNLP 3.4.1, `-preserveLines -lowerCase`) over all captions, one a line,
and removes punctuation. The same tokens come from here; a test compares the two on every caption at hand.

The lexer tries all rules at every position. The one that reaches furthest wins, what it looks ahead at included, and
the first of equals: so the rules are a table, and one regular expression tries them all and remembers how far each got.

Captions are lexed in chunks, and a chunk that was seen before is looked up. Chunks end at the spaces that no rule can
look across (`CHUNK_END`), so that a chunk has the same tokens wherever it stands.

Two oddities of the original that scores depend on are kept: brackets become the words "-lrb-" and "-rrb-", and the
last full stop of "... that reads K." belongs to the K or not, depending on whether the next caption opens like a
sentence (`following`). One is not: a caption with a line break other than a line feed made Java hand every later
caption the tokens of another one; here it is white space.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from .ptb_rules import ABBREVIATION_OF_NUMBERED, RULES

# coco-caption also lists "-LRB-" and the like, in capitals: they never equal a token, all of which are lower case.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
LINE_BREAK = re.compile(r"[\r\n\u2028\u2029\x0b\x0c\x85]")
OPEN_END = re.compile(rf"(?<![A-Za-z])(?:[A-Za-z]\.|{ABBREVIATION_OF_NUMBERED})\s*$")
# Rules that look across a space: tags (such captions are not cut), "No. 5", "3 1/2", "(555) 123 4567", "Co. Ltd.",
# ". . ." and "K. The". So none does where the next character is one of a to z but "l"; none does after a character
# other than white space, a full stop, a digit, a closing bracket and those beyond ASCII; and after a digit or a bracket
# none does before ASCII punctuation and letters. Each line here is one of the three.
CHUNK_END = re.compile(
    r" (?=[a-km-z])"
    r"|(?<=[!-(*-\-/:;=-~]) "
    r"|(?<=[0-9)]) (?=[!-\-/:;=-~])"
)
# Two groups a rule: the token, and the empty one after all that the rule looks at.
LEXER = re.compile("".join(rf"(?:(?=({rule.pattern}){rule.before}())|)" for rule in RULES))


def tokenize_all(captions: Iterable[str]) -> list[str]:
    """Tokenizes captions in the order given, each seeing the one after it, as one run of the Java tokenizer does."""
    captions = list(captions)
    following, tokenized = "", []
    for caption in reversed(captions):
        tokenized.append(tokenize(caption, following if OPEN_END.search(caption) else ""))
        following = caption if caption.strip() else following
    return tokenized[::-1]


def tokenize(caption: str, following: str = "") -> str:
    """Lower-case tokens of one caption without punctuation, joined by single spaces.

    `following` is the caption on the next line. A token like "3 1/2" has a no-break space in it.
    """
    caption = LINE_BREAK.sub(" ", caption)
    *chunks, last = [caption] if "<" in caption else CHUNK_END.split(caption)
    return " ".join(filter(None, [*map(_tokenize_chunk, chunks), _tokenize_chunk(last, following, is_last=True)]))


@lru_cache(maxsize=2**18)
def _tokenize_chunk(chunk: str, following: str = "", *, is_last: bool = False) -> str:
    after = f"\n{following}\n" if is_last else " x"
    if (chunk + after).isascii():
        tokens = list(_tokens(chunk + after, len(chunk)))
    else:
        units = _code_units(chunk)
        tokens = [_characters(token) for token in _tokens(units + _code_units(after), len(units))]
    if is_last and tokens:
        tokens[-1] = tokens[-1].rstrip()  # coco-caption strips the line: addresses can end in a no-break space
    return " ".join(token for token in map(str.lower, tokens) if token and token not in PUNCTUATION)


def _code_units(text: str) -> str:
    """Text as Java counts it, in UTF-16 code units: a character beyond U+FFFF is two."""
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
            position += 1  # white space, or a character the lexer does not know and leaves out
