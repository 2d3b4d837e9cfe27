"""Penn Treebank tokenisation of captions as coco-caption does it, without Java.

pycocoevalcap runs Stanford's PTBTokenizer (CoreNLP 3.4.1, `-preserveLines -lowerCase`) over all captions, one a line,
and removes punctuation. The same tokens come from here; a test compares the two on every caption at hand.

The lexer tries all rules at every position. The one that reaches furthest wins, what it looks ahead at included, and
the first of equals: so the rules are a table, not one regular expression with alternatives.

Two oddities of the original that scores depend on are kept: brackets become the words "-lrb-" and "-rrb-", and the
last full stop of "... that reads K." belongs to the K or not, depending on whether the next caption opens like a
sentence (`following`). One is not: a caption with a line break other than a line feed made Java hand every later
caption the tokens of another one; here it is white space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from .ptb_rules import ABBREVIATION_OF_NUMBERED, ASSIMILATIONS, RULES

# coco-caption also lists "-LRB-" and the like, in capitals: they never equal a token, all of which are lower case.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
LINE_BREAK = re.compile(r"[\r\n\u2028\u2029\x0b\x0c\x85]")
# Most of any caption: letters before a space, which the rules would leave as they are (60 patterns later).
PLAIN_WORD = re.compile(r"[A-Za-z]+(?=[ \n])")
SPLIT_WORDS = frozenset(head + tail for head, tail in ASSIMILATIONS.items())
OPEN_END = re.compile(rf"(?<![A-Za-z])(?:[A-Za-z]\.|{ABBREVIATION_OF_NUMBERED})\s*$")


def tokenize_all(captions: Iterable[str]) -> list[str]:
    """Tokenizes captions in the order given, each seeing the one after it, as one run of the Java tokenizer does."""
    captions = list(captions)
    following, tokenized = "", []
    for caption in reversed(captions):
        tokenized.append(tokenize(caption, following if OPEN_END.search(caption) else ""))
        following = caption if caption.strip() else following
    return tokenized[::-1]


@lru_cache(maxsize=2**18)
def tokenize(caption: str, following: str = "") -> str:
    """Lower-case tokens of one caption without punctuation, joined by single spaces.

    `following` is the caption on the next line. A token like "3 1/2" has a no-break space in it.
    """
    caption = LINE_BREAK.sub(" ", caption)
    tokens = (token.lower() for token in _tokens(f"{caption}\n{following}\n", len(caption)))
    return " ".join(token for token in tokens if token and token not in PUNCTUATION)


def _tokens(text: str, end: int) -> Iterator[str]:
    position = 0
    while position < end:
        word = PLAIN_WORD.match(text, position)
        if word and word.group().lower() not in SPLIT_WORDS:
            yield word.group()
            position = word.end() + 1
            continue
        matches = [(match.end(), match, rule) for rule in RULES if (match := rule.pattern.match(text, position))]
        reach, match, rule = max(matches, key=lambda candidate: candidate[0], default=(position, None, None))
        if match and rule and reach > position:
            yield rule.token_of(match.group(1))
            position = match.end(1)
        else:
            position += 1  # white space, or a character the lexer does not know and leaves out
