"""The tokeniser equals Stanford's, as pycocoevalcap calls it."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import pytest

from capfw.plugins.libraries.ptb import tokenize, tokenize_all

from .java_tokenizer import JAVA, without_punctuation
from .observe_characters import CLASSES, EXCLUDED, characters_of
from .observe_ptb import OBSERVED, QUESTIONS, observe_all, word_of


def recorded(name: str) -> tuple[list[str], list[str]]:
    pairs = json.loads(Path(__file__).with_name(name).read_text("utf-8"))["captions"]
    return [caption for caption, _ in pairs], [tokens for _, tokens in pairs]


def test_equals_the_recorded_output_of_java() -> None:
    captions, expected = recorded("ptb_java.json")
    assert tokenize_all(captions) == expected


def test_equals_java_on_a_grid_of_addresses_tags_and_odd_characters() -> None:
    captions, expected = recorded("ptb_java_grid.json")
    found = [tokenize(caption, "two dogs") for caption in captions]
    assert [pair for pair in zip(captions, found, expected, strict=True) if pair[1] != pair[2]] == []


def test_a_single_letter_at_the_end_depends_on_what_follows() -> None:
    assert tokenize("a sign that says K.", "A dog runs") == "a sign that says k"
    assert tokenize("a sign that says K.", "two dogs run") == "a sign that says k."
    assert tokenize_all(["says K.", "", "A dog"]) == ["says k", "", "a dog"]  # an empty caption is an empty line


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_line_breaks_inside_a_caption_are_spaces(line_break: str) -> None:
    assert tokenize_all([f"a dog{line_break}runs", "a cat"]) == ["a dog runs", "a cat"]


@pytest.mark.parametrize("text", ["a,b," * 1000, "'" * 3000, "a@b." * 1000, "<a b" * 1000, "A&" * 1500, "1-" * 2000])
def test_an_untrained_decoder_cannot_stall_it(text: str) -> None:
    assert set("".join(tokenize(text).split())) <= set(text.lower() + "'")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="needs java, to compare with the original tokenizer")
@pytest.mark.parametrize(
    ("files", "num_captions"),
    [
        (["coco_val2017/captions_val2017.json"], 25_014),
        ([f"flickr8k/annotations/captions_{split}.json" for split in ("train", "val", "test")], 37_500),
    ],
)
def test_equals_java_on_every_caption_at_hand(shared_data: Path, files: list[str], num_captions: int) -> None:
    by_image: dict[int, list[str]] = {}
    for file in files:
        for annotation in json.loads((shared_data / file).read_text("utf-8"))["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation["caption"])
    captions = [caption for group in by_image.values() for caption in group]  # the order coco-caption hands them over
    assert len(captions) == num_captions
    expected = map(without_punctuation, JAVA.lines(captions))
    differing = [pair for pair in zip(captions, tokenize_all(captions), expected, strict=True) if pair[1] != pair[2]]
    assert differing == []


def test_words_that_java_does_not_abbreviate_are_not_abbreviated() -> None:
    assert tokenize("a shop of Arts. 5 people") == "a shop of arts 5 people"
    assert tokenize("Fig. 5 of Ark. and ark. by Attys. Dunn") == "fig. 5 of ark. and ark by attys. dunn"


@pytest.mark.parametrize(
    ("caption", "tokens"),  # the Java tokenizer's answers
    [
        ("x-\u03a3 y", "x-\u03c2 y"),
        ("A\u03a3 a\u03a3-b A_\u03a3 1\u03a3", "a\u03c2 a\u03c3-b a_\u03c2 1\u03c3"),
        ("AB\u03a3\u02b0 \u03a3", "ab\u03c3\u02b0 \u03c3"),
        ("\u0130 x-\u0130 \u1e9e", "i\u0307 x-i\u0307 \xdf"),
        ("it&apos;s &APOS; &quot; &AMP; &copy;", "it 's &apos; & & copy"),
    ],
)
def test_lower_case_and_entities_are_those_of_java(caption: str, tokens: str) -> None:
    assert tokenize(caption) == tokens


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="needs java, to ask the original tokenizer")
def test_observed_lists_are_what_java_answers_for_a_sample() -> None:
    observed = json.loads(OBSERVED.read_text("utf-8"))
    words = {word_of(p).replace(" ", "").strip("'") for name in QUESTIONS for p in observed[name]}
    words |= {word.replace(" ", "").strip("'") for word in observed["split"]}
    of_all = words | {pair[:2] for pair in observed["punctuation"]} | {name.lower() for name in observed["entity"]}
    characters = {name: characters_of(observed[name]) for name in (*CLASSES, *EXCLUDED)}

    def sample(name: str, asked: set[str]) -> set[str]:
        kept = characters.get(name, of_all) | set(observed["replaced"])
        return {word for word in asked if word in kept or zlib.crc32(word.encode()) % 40 == 0}

    assert observe_all(sample) == {name: words for name, words in observed.items() if name != "made_with"}
