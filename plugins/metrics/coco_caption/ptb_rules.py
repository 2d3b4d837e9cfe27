r"""The lexical rules of Penn Treebank tokenisation, as Stanford's PTBTokenizer (CoreNLP 3.4.1) applies them.

A rule has the pattern of a token, the pattern `before` of the text that must follow the token (a lookahead), and a function
that makes the token from the text. Literal text ignores case, a [character class] does not: `M(?i:iss)\.` is the title,
"miss." is not. The rules drop tokens that coco-caption removes, so the kind of a quotation mark or dash does not matter.

`ptb_observed.json` holds the lists of words (abbreviations, words that open a sentence, file extensions, ...) and the
character classes. They come only from observing the Java tokenizer's output: `tests/metrics/observe_abbreviations.py` runs
it on every candidate word and writes the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OBSERVED: dict[str, list[str]] = json.loads(Path(__file__).with_name("ptb_observed.json").read_text("utf-8"))


def _one_of(name: str) -> str:
    """Returns a pattern of any of the observed words; a lower-case word matches any case, any other word is a pattern."""
    patterns = [word for word in OBSERVED[name] if not word.islower() or "(" in word]
    words = "|".join(re.escape(word) for word in OBSERVED[name] if word not in patterns)
    return f"(?:{'|'.join([*patterns, *([f'(?i:{words})'] if words else [])])})"


def _ranges(observed: list[str]) -> str:
    """Returns a character class without its brackets, from ranges such as "0030-0039"."""
    return "".join("-".join(rf"\u{code}" for code in codes.split("-")) for codes in observed)


SPACE = r"[ \t\xa0\u2000-\u200A\u3000]"
SPACE_OR_LINE = r"[ \t\xa0\u2000-\u200A\u3000\r\n\u2028\u2029\x0b\x0c\x85]"
LETTERS, DIGITS, MARKS = (_ranges(OBSERVED[name]) for name in ("letter", "digit", "mark"))  # none beyond U+FFFF
LETTER, DIGIT, ALNUM = f"[{LETTERS}]", f"[{DIGITS}]", f"[{LETTERS}{DIGITS}]"
# Marks (accents, vowel signs) and the soft hyphen are parts of words but not letters.
WORD_LETTER = rf"(?:[{LETTERS}{MARKS}\u00AD]|&[aeiouAEIOU](?i:acute|grave|uml);)"
WORD_CHAR = f"(?:{WORD_LETTER}|{DIGIT})"
WORD = f"{WORD_LETTER}{WORD_CHAR}*(?:[.!?]{WORD_LETTER}{WORD_CHAR}*)*"

APOSTROPHE = r"(?:['\x92\u2019]|(?i:&apos;))"
APOSTROPHE_LIKE = rf"(?:{APOSTROPHE}|[`\x91\u2018\u201B])"
AUXILIARY = rf"{APOSTROPHE}(?:[msdMSD]|(?i:re|ve|ll))"  # 's, 'll
NEGATION = f"(?i:n){APOSTROPHE_LIKE}(?i:t)"  # n't
APOSTROPHE_WORDS = (
    f"{APOSTROPHE}(?i:n){APOSTROPHE}?",  # rock 'n' roll
    f"{_one_of('keeps_an_apostrophe_after_it')}{APOSTROPHE}",
    f"{APOSTROPHE}{_one_of('keeps_an_apostrophe_before_it')}",
    f"{APOSTROPHE}[2-9](?i:0s)",
    f"[A-HJ-XZn]{APOSTROPHE_LIKE}{LETTER}{{2,}}",  # O'Brien
    f"{LETTER}+[aeiouyAEIOUY]{APOSTROPHE_LIKE}[aeiouA-Z]{LETTER}*",
    _one_of("contraction"),
    f"(?i:o){APOSTROPHE_LIKE}(?i:o)",
)
QUOTES = rf"(?:''|[`\u2018-\u201F\x91-\x94\u2039\u203A\u00AB\u00BB]{{1,2}}|{APOSTROPHE})"
AMPERSAND = r"(?:&|(?i:&amp;))"
INSIDE_SENTENCE = r"[,;:\u3001]"  # a full stop before one of these belongs to an abbreviation

NUMBER = rf"[-+]?(?:{DIGIT}+(?:[.:,\u00AD\u066B\u066C]{DIGIT}+)*|(?:[.:,\u00AD\u066B\u066C]{DIGIT}+)+)"
FRACTION = rf"(?:{DIGIT}{{1,4}}[- \xa0])?{DIGIT}{{1,4}}(?:\\?/|\u2044){DIGIT}{{1,4}}"
PHONE = r"(?:\([0-9]{2,3}\)[ \xa0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])[0-9]{3,4}[- \xa0]?[0-9]{3,5}"
PHONE_WITH_DOTS = r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"

ACRONYM = (  # of two letters or more
    r"(?:[A-Za-z](?:\.[A-Za-z])+|(?i:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-(?:u\.k|u\.s\.s\.r)))"
)
ELIDED = f"(?:[dDoOlL]{APOSTROPHE_LIKE}{ALNUM})?"  # d'Avignon
THING = rf"{ELIDED}{ALNUM}+(?:[-_\u058A\u2010\u2011]{ELIDED}{ALNUM}+)*"
HYPHENATED = rf"[A-Za-z0-9][A-Za-z0-9.,\u00AD]*(?:-(?:{ACRONYM}\.|[A-Za-z0-9\u00AD]+))+"
SLASH_PART = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
JOINED_CAPITALS = rf"[A-Z]+(?:(?:\+|{AMPERSAND})[A-Z]+)+"  # AT&T

ABBREVIATION_WITH_STOP = rf"{_one_of('keeps_its_stop_before_letters')}\."  # "Jan.x" is two words, "Mr.x" is one
ABBREVIATION = rf"(?:{ACRONYM}|[A-Za-z]|{_one_of('keeps_its_stop')})"
ABBREVIATION_OF_NUMBERED = rf"{_one_of('keeps_its_stop_before_a_number')}\."
OPENER = rf"(?:{_one_of('opens_a_sentence')}|{_one_of('opens_a_sentence_with_a_stop')}\.)"

TAG_NAME = r"[A-Za-z][A-Za-z0-9_:.\-]*"
ATTRIBUTE = rf"{TAG_NAME}(?: *= *(?:'[^']*'|\"[^\"]*\"))?"  # the value of an attribute is in quotation marks
TAG = rf"<(?:[!?][A-Za-z\-][^>\r\n]*|{TAG_NAME}(?: +{ATTRIBUTE})* */?|/{TAG_NAME}) *>"
URL = r"(?i:https?)://[^ \t\n\f\r\"<>|(){}]+[^ \t\n\f\r\"<>|.!?(){},-]"
URL_PATH = r"(?:/[^ \t\n\f\r\"<>|()]+[^ \t\n\f\r\"<>|.!?(){},-])?"
# ",-_" is a range, which excludes capitals and digits from the labels.
HOST = rf"(?:[^ \t\n\f\r\"`'<>|.!?(){{}},-_$]+\.)+{_one_of('top_level_domain')}"
WWW_HOST = r"(?i:www)\.(?:[^ \t\n\f\r\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}"
EMAIL = (
    r"(?:(?i:&lt;)|<)?[a-zA-Z0-9][^ \t\n\f\r\"<>|()\xa0{}]*@(?:[^ \t\n\f\r\"<>|(){}.\xa0]+\.)*"
    r"[^ \t\n\f\r\"<>|(){}.\xa0]+(?:(?i:&gt;)|>)?"
)
FILE_NAME = rf"{WORD_CHAR}+(?:\.{WORD_CHAR}+)*\.{_one_of('file_extension')}"
SMILEY = r"[<>]?[:;=][\-o*']?[()DPdpO\\{@|\[\]]"
ASIAN_SMILEY = (
    r"(?:[\^x=~<>]\.\[\^x=<>\]|[\-\^x=~<>']_[\-\^x=~<>']"
    r"|\([\-\^x=~<>'][_.]?[\-\^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\))"
)
SYMBOL = (  # each is a token
    r"[+%&~\^|\\=/\xA1\xA6-\xA9\xAC\xAE-\xB1\xB4\xB6-\xB8\xBF\xD7\xF7\u037E\u0387\u0589\u05BE\u05C0\u05C3\u05C6\u05F3"
    r"\u05F4\u0600-\u0603\u0606-\u060A\u060C\u0614\u061B\u061E\u061F\u066A\u066D\u06D4\u0700-\u070D\u07F6-\u07F8\u0964\u0965"
    r"\u0E4F\u1FBD\u2016\u2017\u2020-\u2023\u2030-\u2038\u203B\u203E-\u2042\u2044\u207A-\u207E\u208A-\u208E"
    r"\u2100-\u214F\u2190-\u2BFF\u3001\u3002\u3012\u30FB\uFF01-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65]"
)


def _keep(token: str) -> str:
    return token


def _drop(token: str) -> str:
    return ""


def _without_soft_hyphens(token: str) -> str:
    return token.replace("\u00ad", "") or "-"


def _ascii_quotes(token: str) -> str:
    token = re.sub(r"[\x92\u2019\u203A]|&apos;", "'", re.sub(r"[\x91\u2018\u201B\u2039]", "`", token))
    return re.sub(r"[\x94\u201D\xBB\"]|&quot;", "''", re.sub(r"[\x93\u201C\xAB]", "``", token))


def _plain_ampersand(token: str) -> str:
    return re.sub(r"(?i:&amp;)", "&", token)


def _in_one_piece(token: str) -> str:
    """Replaces spaces by no-break spaces: "3 1/2" is one token."""
    return token.replace(" ", "\u00a0")


def _without_brackets(token: str) -> str:
    return _in_one_piece(token).replace("(", "-LRB-").replace(")", "-RRB-")


REPLACEMENTS = dict(
    pair.split()
    for pair in (
        "{ -LCB-", "} -RCB-", "[ -LSB-", "] -RSB-", "( -LRB-", ") -RRB-", "&lt; <", "&gt; >",
        "¢ cents", "£ #", "\x80 $", "¤ $", "₠ $", "€ $", "¼ 1/4", "½ 1/2", "¾ 3/4", "⅓ 1/3", "⅔ 2/3",
    )
)  # fmt: skip


def _replacement(token: str) -> str:
    return REPLACEMENTS.get(token.lower(), token)


@dataclass(frozen=True)
class Rule:
    """The `pattern` of a token's text, the lookahead `before`, and `token_of`, which makes the token, or "" for none."""

    pattern: str
    token_of: Callable[[str], str]
    before: str


def _rule(pattern: str, token_of: Callable[[str], str] = _keep, *, before: str = "") -> Rule:
    return Rule(pattern, token_of, before)


# In order of precedence among rules that reach equally far.
RULES = (
    _rule(r"(?:(?i:c)\+\+|(?i:[cf])#)"),
    *(_rule(f"(?i:{head})", before=f"(?i:{tail})") for head, tail in map(str.split, OBSERVED["split"])),
    _rule("'(?i:t)", before="(?i:was)"),
    _rule("'(?i:t)", before="(?i:is)"),
    _rule(TAG, _in_one_piece),
    _rule(r"(?:(?i:&(?:md|mdash|ndash);)|[\x96\x97\u2013-\u2015])", _drop),
    _rule("(?i:&amp;)", _plain_ampersand),
    _rule("&(?i:ht|tl|ur|lr|qc|ql|qr|odq|cdq|#[0-9]+);"),
    _rule(WORD, _without_soft_hyphens, before=AUXILIARY),
    _rule(r"[A-Za-z\u00AD]*[A-MO-Za-mo-z]\u00AD*", _without_soft_hyphens, before=NEGATION),
    _rule(WORD, _without_soft_hyphens),
    *(_rule(word) for word in APOSTROPHE_WORDS),
    _rule(f"(?i:y){APOSTROPHE}", before=LETTER),
    _rule(URL),
    _rule(WWW_HOST + URL_PATH),
    _rule(HOST + URL_PATH),
    _rule(EMAIL),
    _rule(f"(?:@[a-zA-Z_][a-zA-Z_0-9]*|#{WORD_LETTER}+)"),
    _rule(AUXILIARY, _ascii_quotes, before="[^A-Za-z]"),
    _rule(NEGATION, _ascii_quotes, before="[^A-Za-z]"),
    _rule(f"{DIGIT}{{1,2}}[-/]{DIGIT}{{1,2}}[-/]{DIGIT}{{2,4}}"),
    _rule(NUMBER, _without_soft_hyphens),
    _rule(r"[\u207A\u207B\u208A\u208B]?(?:[\u2070¹²³\u2074-\u2079]+|[\u2080-\u2089]+)"),
    _rule(FRACTION, _in_one_piece),
    _rule(r"[\u00BC-\u00BE\u2153-\u215E]", _replacement),
    _rule(r"(?i:-(?:rrb|lrb|rcb|lcb|rsb|lsb)-|c\.d\.s)"),
    _rule(f"{_one_of('keeps_a_hyphen_after_it')}-"),
    _rule(_one_of("contraction_with_a_curly_apostrophe").replace("'", APOSTROPHE)),
    _rule(f"(?i:s{AMPERSAND}p-500|s{AMPERSAND}ls)", _plain_ampersand),
    _rule(rf"{SLASH_PART}(?:\\?/{SLASH_PART}){{1,2}}"),
    _rule(r"(?:[A-Z]*\$|#)"),
    _rule(r"[¢-¥\x80\u20A0\u20A4\u20AC\u060B\u0E3F\uFFE0\uFFE1\uFFE5\uFFE6]", _replacement),
    # These words after an acronym open a sentence, so its full stop ends one. Longer acronyms keep their full stop too.
    _rule("[A-Za-z]", before=rf"\.{SPACE_OR_LINE}+(?:{OPENER}|{TAG}){SPACE_OR_LINE}"),
    _rule(ABBREVIATION_OF_NUMBERED, before=f"{SPACE_OR_LINE}?{DIGIT}"),
    _rule(ABBREVIATION_WITH_STOP, before=r"[\s\S]{2}"),
    _rule(rf"{ABBREVIATION}\."),
    _rule(ABBREVIATION, before=SPACE),
    _rule(ACRONYM, before=SPACE_OR_LINE),
    _rule(f"{APOSTROPHE}[0-9][0-9]", before=SPACE_OR_LINE),
    _rule(FILE_NAME, before=f"(?:{SPACE_OR_LINE}|[.?!,])"),
    _rule(rf"{WORD}\.", _without_soft_hyphens, before=INSIDE_SENTENCE),
    _rule(PHONE, _without_brackets),
    _rule(PHONE_WITH_DOTS),
    _rule('(?:"|(?i:&quot;))', _ascii_quotes),
    _rule("(?:[<>]|(?i:&lt;|&gt;))", _replacement),
    _rule(SMILEY, _without_brackets, before="[^A-Za-z0-9]"),
    _rule(ASIAN_SMILEY, _without_brackets),
    _rule(r"[{}\[\]()]", _replacement),
    _rule("-{1,4}", _drop),
    _rule("-{5,}"),
    _rule(r"(?:\.{3,5}|(?:\.[ \xa0]){2,4}\.|[\x85\u2026])", _drop),
    _rule(r"(?:@+|#+|_+|\*+|(?:\\\*){1,3}|<<|>>)"),
    _rule("[?!]+"),
    _rule("[.,;:]", _drop),
    _rule(HYPHENATED, _without_soft_hyphens),
    _rule(rf"{HYPHENATED}\.", _without_soft_hyphens, before=INSIDE_SENTENCE),
    _rule(rf"{THING}\.", before=INSIDE_SENTENCE),
    _rule(THING),
    _rule(rf"{JOINED_CAPITALS}\.", _plain_ampersand, before=INSIDE_SENTENCE),
    _rule(JOINED_CAPITALS, _plain_ampersand),
    _rule("'", _drop, before=rf"[A-Za-z](?!{SPACE_OR_LINE})[\s\S]"),  # 'slide: a quotation mark, not 's
    _rule(QUOTES, _ascii_quotes),
    _rule(AUXILIARY, _ascii_quotes),
    _rule(NEGATION, _ascii_quotes),
    _rule(SYMBOL),
    _rule("(?i:&nbsp;)", _drop),
)
