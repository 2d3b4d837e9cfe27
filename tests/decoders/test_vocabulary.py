"""Tokenizers of the decoders `gpt2` and `causal-lm`: vocabularies learned from captions, and GPT-2's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from capfw.core.protocols import GreedyOptions, Prefix
from capfw.plugins.decoders.causal_lm import Gpt2Config

TINY = {"weights": "random", "num_layers": 2, "width": 16, "num_heads": 2, "max_positions": 64}


def test_vocabulary_of_the_captions_is_lower_case_words_and_gives_english_back(build: Any, captions: Any) -> None:
    decoder = build(Gpt2Config(**TINY))
    rows = decoder.tokenize(captions)
    assert [len(row) for row in rows] == [7, 7, 10, 9]  # words, signs and EOS
    assert {row[-1] for row in rows} == {decoder.tokenizer.eos_token_id}
    assert decoder.detokenize(rows) == [
        "a man's dog runs.",
        "two dogs play in the snow",
        "a red bus, parked on the street!",
        "a dog runs in the red snow.",
    ]


@pytest.mark.parametrize("unit", ["words", "subwords"])
@pytest.mark.parametrize(
    "text",
    [
        "don't stop, the dogs' ball is (very) red.",
        'a sign says "stop" at 3.5 km/h',
        "a t-shirt for $ 5 % !",
        "the women's race: two lead; one falls?",
    ],
)
def test_captions_come_back_from_a_learned_vocabulary_with_natural_spacing(build: Any, unit: str, text: str) -> None:
    decoder = build(Gpt2Config(**TINY, vocabulary_unit=unit), [text])
    expected = text.replace("$ 5 % !", "$5%!")
    assert decoder.detokenize(decoder.tokenize([text])) == [expected]


def test_vocabulary_keeps_the_most_frequent_words(build: Any, captions: Any) -> None:
    decoder = build(Gpt2Config(**TINY, vocabulary_size=5, min_frequency=2), captions)
    # In the captions "a" and "the" stand three times, "." , "dog", "in", "red", "runs" and "snow" less often or later.
    words = set(decoder.tokenizer.get_vocab()) - {"[EOS]", "[UNK]"}
    assert len(words) == 3
    assert {"a", "the"} <= words
    frequent = build(Gpt2Config(**TINY, min_frequency=3), captions)
    assert set(frequent.tokenizer.get_vocab()) - {"[EOS]", "[UNK]"} == {"a", "the"}


def test_unknown_words_are_never_generated(build: Any) -> None:
    decoder = build(Gpt2Config(**TINY, vocabulary_size=5)).eval()
    unknown = decoder.tokenizer.unk_token_id
    table = decoder.model.get_input_embeddings().weight
    prefix = (50 * table[unknown]).detach().expand(1, 3, -1)
    logits = decoder.model(inputs_embeds=prefix).logits[0, -1]
    assert int(logits.argmax()) == unknown
    made = decoder.generate(Prefix(prefix), GreedyOptions(max_tokens=8), torch.arange(1))
    assert unknown not in made.ids[0]


def test_decoder_is_rebuilt_from_its_assets_alone(tmp_path: Path, captions: Any) -> None:
    from capfw.plugins.decoders.causal_lm.model import LanguageModel

    config = Gpt2Config(**TINY)
    LanguageModel.prepare(config, captions=captions, assets=tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    first, second = (LanguageModel(config, assets=tmp_path) for _ in range(2))
    second.load_state_dict(first.state_dict())
    assert first.tokenize(captions) == second.tokenize(captions)


def test_gpt2s_tokenizer_encodes_captions_as_they_are(build: Any, golden: Path, shared_data: Path) -> None:
    facts = json.loads((golden / "seed_mappers/dataset/gpt2_tokenization.json").read_text())
    options = {**TINY, "tokenizer": str(shared_data / "gpt2_tokenizer")}
    decoder, clipcap = build(Gpt2Config(**options)), build(Gpt2Config(**options, stop_token="."))
    for row in facts["rows"]:
        (ids,) = decoder.tokenize([row["caption"]])
        assert ids[: row["max_length"]] == row["real_token_ids"]
    for row in facts["clipcap_encode"]:
        assert clipcap.tokenize([row["caption"]]) == [row["token_ids"]]
    assert decoder.detokenize([[15496, 995, 50256], [50256]]) == ["Hello world", ""]
