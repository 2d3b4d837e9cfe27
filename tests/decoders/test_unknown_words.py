"""The words that a decoder with a learned vocabulary cannot write, counted without building it."""

from __future__ import annotations

from pathlib import Path

import pytest

from capfw.core.errors import ComponentError
from capfw.plugins.decoders.causal_lm import Gpt2Config
from capfw.plugins.decoders.causal_lm.model import LanguageModel

CAPTIONS = ["A dog runs.", "Two dogs run on the beach, and a cat's ball rolls 2.5 m."]


def prepared(assets: Path, **options: object) -> Gpt2Config:
    config = Gpt2Config.model_validate({"weights": "random", "num_layers": 1, "width": 8, "num_heads": 1, **options})
    LanguageModel.prepare(config, captions=CAPTIONS, assets=assets)
    return config


@pytest.mark.parametrize(
    ("unit", "captions", "unknown"),
    [
        ("words", CAPTIONS, {}),
        ("words", ["A DOG\u2019s cat", "the Zebra, a zebra & 2.5 dogs"], {"zebra": 2, "&": 1}),
        ("words", ["well-known dogs"], {"well-known": 1}),
        ("subwords", [*CAPTIONS, "a cod dons"], {}),
        ("subwords", ["a \u0436 on the beach"], {"\u0436": 1}),
    ],
)
def test_words_without_a_token_are_counted(
    tmp_path: Path, unit: str, captions: list[str], unknown: dict[str, int]
) -> None:
    config = prepared(tmp_path, vocabulary_unit=unit)

    assert config.unknown_words(captions, assets=tmp_path) == unknown


def test_rare_words_that_the_vocabulary_left_out_are_unknown(tmp_path: Path) -> None:
    config = prepared(tmp_path, min_frequency=2)

    assert config.unknown_words(["a dog ."], assets=tmp_path) == {"dog": 1}


def test_a_published_tokenizer_lacks_no_word(tmp_path: Path) -> None:
    assert Gpt2Config(weights="gpt2").unknown_words(["zebra \u0436"], assets=tmp_path) == {}


def test_a_missing_vocabulary_is_named_with_its_file(tmp_path: Path) -> None:
    config = prepared(tmp_path)
    (tmp_path / "tokenizer.json").unlink()

    with pytest.raises(ComponentError, match=r"tokenizer\.json cannot be read: [\s\S]*Restore the file"):
        config.unknown_words(["a dog"], assets=tmp_path)
