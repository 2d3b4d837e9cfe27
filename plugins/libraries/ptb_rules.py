r"""The lexical rules of Penn Treebank tokenisation, as Stanford's PTBTokenizer (CoreNLP 3.4.1) applies them.

A rule has the pattern of a token, the pattern `before` of the text that must follow the token (a lookahead), and a function
that makes the token from the text. Literal text ignores case, a [character class] does not: `M(?i:iss)\.` is the title,
"miss." is not. The rules drop tokens that coco-caption removes, so the kind of a quotation mark or dash does not matter.

`ptb_observed.json` holds the lists of words (abbreviations, words that open a sentence, file extensions, ...) and the
character classes. They come only from observing the Java tokenizer's output: `tests/metrics/observe_ptb.py` asks
it about every candidate word and every character up to U+FFFF, and writes the file. Here is only the structure of tokens:
numbers, addresses, words with hyphens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_FILE = json.loads(Path(__file__).with_name("ptb_observed.json").read_text("utf-8"))
OBSERVED: dict[str, list[str]] = {name: answers for name, answers in _FILE.items() if isinstance(answers, list)}
ENTITIES: dict[str, str] = _FILE["entity"]  # "amp" is "&"
REPLACED: dict[str, str] = _FILE["replaced"]  # a half is "1/2"


def _one_of(name: str) -> str:
    """Returns a pattern of any of the observed words; a lower-case word matches any case, any other word is a pattern."""
    patterns = [word for word in OBSERVED[name] if not word.islower() or "(" in word]
    words = "|".join(re.escape(word) for word in OBSERVED[name] if word not in patterns)
    return f"(?:{'|'.join([*patterns, *([f'(?i:{words})'] if words else [])])})"


def _ranges(observed: list[str]) -> str:
    """Returns a character class without its brackets, from ranges such as "0030-0039"."""
    return "".join("-".join(rf"\u{code}" for code in codes.split("-")) for codes in observed)


def _class(*names: str) -> str:
    """Returns the observed characters as a character class without its brackets."""
    return "".join(_ranges(OBSERVED[name]) for name in names)


def _characters(name: str) -> list[str]:
    ends = [codes.split("-") for codes in OBSERVED[name]]
    return [chr(code) for codes in ends for code in range(int(codes[0], 16), int(codes[-1], 16) + 1)]


def _entity_of(token: str) -> str:
    """Returns a pattern of the observed entities of a token, such as "&amp;"."""
    return f"(?i:&(?:{'|'.join(name for name, found in ENTITIES.items() if found == token)});)"


SPACE = f"[{_class('space')}]"
SPACE_OR_LINE = rf"[{_class('space')}\n]"
LETTER, DIGIT, ALNUM = f"[{_class('letter')}]", f"[{_class('digit')}]", f"[{_class('letter', 'digit')}]"  # to U+FFFF
SOFT_HYPHEN = _class("soft_hyphen")
# Marks (accents, vowel signs) and the soft hyphen are parts of words but not letters.
WORD_LETTER = f"(?:[{_class('letter', 'mark', 'soft_hyphen')}]|&{_one_of('entity_of_a_letter')};)"
WORD_CHAR = f"(?:{WORD_LETTER}|{DIGIT})"
WORD = f"{WORD_LETTER}{WORD_CHAR}*(?:[{_class('inside_a_word')}]{WORD_LETTER}{WORD_CHAR}*)*"

ENTITY_OF_AN_APOSTROPHE = _entity_of("'")
APOSTROPHE = f"(?:[{_class('apostrophe')}]|{ENTITY_OF_AN_APOSTROPHE})"
APOSTROPHE_LIKE = f"(?:[{_class('apostrophe_in_a_negation')}]|{ENTITY_OF_AN_APOSTROPHE})"
AUXILIARY = f"{APOSTROPHE}{_one_of('auxiliary')}"  # 's, 'll
NEGATION = _one_of("negation").replace("'", APOSTROPHE_LIKE)  # n't
APOSTROPHE_WORDS = (
    f"{APOSTROPHE}{_one_of('keeps_both_apostrophes')}{APOSTROPHE}?",  # rock 'n' roll
    f"{_one_of('keeps_an_apostrophe_after_it')}{APOSTROPHE}",
    f"{APOSTROPHE}{_one_of('keeps_an_apostrophe_before_it')}",
    f"{APOSTROPHE}{_one_of('decade')}",
    f"[{_class('initial_before_an_apostrophe')}]{APOSTROPHE_LIKE}{LETTER}{{2,}}",  # O'Brien
    f"{LETTER}+[{_class('letter_before_an_apostrophe')}]{APOSTROPHE_LIKE}"
    f"[{_class('letter_after_an_apostrophe')}]{LETTER}*",
    _one_of("contraction"),
)
QUOTES = f"(?:[{_class('quote')}]{{1,2}}|{APOSTROPHE})"
AMPERSAND = f"(?:&|{_entity_of('&')})"
INSIDE_SENTENCE = f"[{_class('inside_a_sentence')}]"  # a full stop before one of these belongs to an abbreviation

SEPARATED = f"[{_class('inside_a_number', 'soft_hyphen')}]{DIGIT}+"
NUMBER = f"[{_class('sign')}]?(?:{DIGIT}+(?:{SEPARATED})*|(?:{SEPARATED})+)"
SLASH = rf"(?:\\?/|[{_class('inside_a_fraction')}])"
FRACTION = f"(?:{DIGIT}{{1,4}}[{_class('between_number_and_fraction')}])?{DIGIT}{{1,4}}{SLASH}{DIGIT}{{1,4}}"
GAP = f"[{_class('inside_a_phone_number')}]"
PHONE = (
    rf"(?:\([0-9]{{2,3}}\)[{_class('after_an_area_code')}]?|(?:\+\+?)?(?:[0-9]{{2,4}}{GAP})?[0-9]{{2,4}}{GAP})"
    rf"[0-9]{{3,4}}{GAP}?[0-9]{{3,5}}"
)
PHONE_WITH_DOTS = r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"

ACRONYM = rf"(?:[A-Za-z](?:\.[A-Za-z])+|{_one_of('acronym_with_a_hyphen')})"  # of two letters or more
ELIDED = f"(?:[{_class('elided')}]{APOSTROPHE_LIKE}{ALNUM})?"  # d'Avignon
THING = f"{ELIDED}{ALNUM}+(?:[{_class('between_words')}]{ELIDED}{ALNUM}+)*"
HYPHENATED = (
    f"[A-Za-z0-9][A-Za-z0-9{_class('before_a_hyphen', 'soft_hyphen')}]*"
    rf"(?:-(?:{ACRONYM}\.|[A-Za-z0-9{SOFT_HYPHEN}]+))+"
)
SLASH_PART = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
JOINED_CAPITALS = f"[A-Z]+(?:(?:[{_class('between_capitals')}]|{_entity_of('&')})[A-Z]+)+"  # AT&T

ABBREVIATION_WITH_STOP = rf"{_one_of('keeps_its_stop_before_letters')}\."  # "Jan.x" is two words, "Mr.x" is one
ABBREVIATION = rf"(?:{ACRONYM}|[A-Za-z]|{_one_of('keeps_its_stop')})"
ABBREVIATION_OF_NUMBERED = rf"{_one_of('keeps_its_stop_before_a_number')}\."
OPENER = rf"(?:{_one_of('opens_a_sentence')}|{_one_of('opens_a_sentence_with_a_stop')}\.)"

TAG_NAME = f"[{_class('tag_start')}][{_class('inside_a_tag_name')}]*"
ATTRIBUTE = rf"{TAG_NAME}(?: *= *(?:'[^']*'|\"[^\"]*\"))?"  # the value of an attribute is in quotation marks
DECLARATION = rf"[{_class('tag_opener')}][{_class('after_a_tag_opener')}][^>\r\n]*"
TAG = f"<(?:{DECLARATION}|{TAG_NAME}(?: +{ATTRIBUTE})* */?|/{TAG_NAME}) *>"
URL = f"(?i:https?)://[^\n{_class('outside_a_url')}]+[^\n{_class('outside_the_end_of_a_url')}]"
URL_PATH = f"(?:/[^\n{_class('outside_a_path')}]+[^\n{_class('outside_the_end_of_a_path')}])?"
HOST = rf"(?:[^\n{_class('outside_a_host')}.]+\.)+{_one_of('top_level_domain')}"
WWW_HOST = rf"(?i:www)\.(?:[^\n{_class('outside_a_www_host')}.]+\.)+[a-zA-Z]{{2,4}}"
LABEL = f"[^\n{_class('outside_the_host_of_an_email')}.]+"
EMAIL = (
    f"(?:<|{_entity_of('<')})?[{_class('email_start')}][^\n{_class('outside_an_email')}]*@"
    rf"(?:{LABEL}\.)*{LABEL}(?:>|{_entity_of('>')})?"
)
HANDLE = f"@[{_class('handle_start')}][{_class('inside_a_handle')}]*"
FILE_NAME = rf"{WORD_CHAR}+(?:\.{WORD_CHAR}+)*\.{_one_of('file_extension')}"
SMILEY = f"[{_class('smiley_hat')}]?[{_class('smiley_eyes')}][{_class('smiley_nose')}]?[{_class('smiley_mouth')}]"
ASIAN_SMILEY = (
    rf"(?:[{_class('left_eye')}]_[{_class('right_eye')}]"
    rf"|\([{_class('left_eye')}][{_class('nose_in_brackets')}]?[{_class('right_eye')}]\)"
    rf"|\([{_class('left_eye_beside_a_hyphen')}]-[{_class('right_eye_beside_a_hyphen')}]\))"
)
REPEATED = "|".join(  # the longest first
    [f"(?:{re.escape(several)})" for several in sorted(OBSERVED["punctuation"], key=len, reverse=True)]
    + [f"{re.escape(character)}+" for character in _characters("repeated")]
)

# Java finds the end of a word, and so the final sigma, by these characters.
CASED = re.compile(f"[{_class('cased')}]")
CASED_WORD = re.compile(
    f"[{_class('part_of_a_cased_word')}]+"
    f"(?:(?<!{DIGIT})[{_class('inside_a_cased_word')}](?!{DIGIT})[{_class('part_of_a_cased_word')}]+)*"
)


def _keep(token: str) -> str:
    return token


def _drop(token: str) -> str:
    return ""


def _without_soft_hyphens(token: str) -> str:
    return token.replace("\u00ad", "") or "-"


def _ascii_quotes(token: str) -> str:
    for entity in re.findall("&[A-Za-z]+;", token):
        token = token.replace(entity, _replacement(entity))
    return "".join(map(_replacement, token))


def _plain_ampersand(token: str) -> str:
    return re.sub(r"(?i:&amp;)", "&", token)


def _in_one_piece(token: str) -> str:
    """Replaces spaces by no-break spaces: "3 1/2" is one token."""
    return token.replace(" ", "\u00a0")


def _without_brackets(token: str) -> str:
    return _in_one_piece(token).replace("(", "-LRB-").replace(")", "-RRB-")


REPLACEMENTS = {**REPLACED, **{f"&{name};": token for name, token in ENTITIES.items()}}


def _replacement(token: str) -> str:
    """Returns the token in place of a character or entity. "&Apos;" counts as "&APOS;", and not as "&apos;"."""
    return REPLACEMENTS.get(token, REPLACEMENTS.get(token.upper(), token))


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
    _rule(_one_of("word_with_signs")),  # C++
    *(_rule(f"(?i:{head})", before=f"(?i:{tail})") for head, tail in map(str.split, OBSERVED["split"])),
    _rule(TAG, _in_one_piece),
    _rule(f"(?i:&(?:{'|'.join(ENTITIES)});)", _replacement),
    _rule("&#[0-9]+;"),
    _rule(WORD, _without_soft_hyphens, before=AUXILIARY),
    _rule(
        f"[A-Za-z{SOFT_HYPHEN}]*[{_class('letter_before_a_negation')}]{SOFT_HYPHEN}*",
        _without_soft_hyphens,
        before=NEGATION,
    ),
    _rule(WORD, _without_soft_hyphens),
    *(_rule(word) for word in APOSTROPHE_WORDS),
    _rule(f"{_one_of('keeps_an_apostrophe_before_a_word')}{APOSTROPHE}", before=LETTER),
    _rule(URL),
    _rule(WWW_HOST + URL_PATH),
    _rule(HOST + URL_PATH),
    _rule(EMAIL),
    _rule(f"(?:{HANDLE}|#{WORD_LETTER}+)"),
    _rule(AUXILIARY, _ascii_quotes, before="[^A-Za-z]"),
    _rule(NEGATION, _ascii_quotes, before="[^A-Za-z]"),
    _rule(f"{DIGIT}{{1,2}}[{_class('inside_a_date')}]{DIGIT}{{1,2}}[{_class('inside_a_date')}]{DIGIT}{{2,4}}"),
    _rule(NUMBER, _without_soft_hyphens),
    _rule(f"[{_class('small_sign')}]?(?:[{_class('superscript_digit')}]+|[{_class('subscript_digit')}]+)"),
    _rule(FRACTION, _in_one_piece),
    _rule(f"-{_one_of('name_of_a_bracket')}-"),
    _rule(f"{_one_of('keeps_a_hyphen_after_it')}-"),
    _rule(_one_of("contraction_with_a_curly_apostrophe").replace("'", APOSTROPHE)),
    _rule(_one_of("word_with_an_ampersand").replace(r"\&", AMPERSAND), _plain_ampersand),
    _rule(rf"{SLASH_PART}(?:\\?/{SLASH_PART}){{1,2}}"),
    _rule(rf"[{_class('before_a_dollar')}]*\$"),  # US$
    # These words after an acronym open a sentence, so its full stop ends one. Longer acronyms keep their full stop too.
    _rule("[A-Za-z]", before=rf"\.{SPACE_OR_LINE}+(?:{OPENER}|{TAG}){SPACE_OR_LINE}"),
    _rule(ABBREVIATION_OF_NUMBERED, before=f"{SPACE_OR_LINE}?{DIGIT}"),
    _rule(ABBREVIATION_WITH_STOP, before=r"[\s\S]{2}"),
    _rule(rf"{ABBREVIATION}\."),
    _rule(ACRONYM, before=SPACE_OR_LINE),
    _rule(f"{APOSTROPHE}[0-9][0-9]", before=SPACE_OR_LINE),
    _rule(FILE_NAME, before=f"(?:{SPACE_OR_LINE}|[{_class('after_a_file_name')}])"),
    _rule(rf"{WORD}\.", _without_soft_hyphens, before=INSIDE_SENTENCE),
    _rule(PHONE, _without_brackets),
    _rule(PHONE_WITH_DOTS),
    _rule(SMILEY, _without_brackets, before="[^A-Za-z0-9]"),
    _rule(ASIAN_SMILEY, _without_brackets),
    _rule("-{1,4}", _drop),
    _rule(r"(?:\.{3,5}|(?:\.[ \xa0]){2,4}\.)", _drop),
    _rule(f"(?:[{_class('exclamation')}]+|{REPEATED})"),
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
    _rule(f"[{_class('symbol')}{re.escape(''.join(REPLACED))}]", _replacement),
)
