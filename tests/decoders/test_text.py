"""Text between prefix vectors and caption: in which order it is read, and that unequal texts change no other row."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from capfw.core.protocols import (
    AverageBeamOptions,
    BeamOptions,
    GenerateOptions,
    GreedyOptions,
    IncompatibleComponents,
    NucleusOptions,
    Prefix,
    TokenBatch,
)
from capfw.plugins.decoders.causal_lm import CausalLMConfig, Gpt2Config

WORDS = ("a b c d e f g h i j k l m n o p q r s t u v w x y z",)
TINY = {"weights": "random", "num_layers": 2, "width": 16, "num_heads": 2, "max_positions": 64, "dropout": 0.0}
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": 16}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gemma2": {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4},
    "opt": {"num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32, "hidden_size": 16},
    "qwen2": {**SMALL, "num_key_value_heads": 1},
    "bloom": {"n_layer": 2, "n_head": 2, "hidden_size": 16},  # takes no positions
    "mamba": {"num_hidden_layers": 1, "hidden_size": 16, "state_size": 4},  # a recurrent state
}
TEXTS = ("a b c d e", "", "x y")
CAPTIONS = ("f g", "h i j k l m n", "o p q")
METHODS = [
    GreedyOptions(max_tokens=9),
    GreedyOptions(max_tokens=9, use_cache=False),
    BeamOptions(max_tokens=9, num_captions=2),
    AverageBeamOptions(max_tokens=9, num_captions=2),
    NucleusOptions(max_tokens=9, num_captions=2, top_p=1.0),
]


def config_of(model_type: str, **options: Any) -> Any:
    if model_type == "gpt2":
        return Gpt2Config(**TINY, **options)
    architecture = {"model_type": model_type, **ARCHITECTURES[model_type]}
    return CausalLMConfig(weights="random", architecture=architecture, **options)


@pytest.fixture(params=["gpt2", *ARCHITECTURES])
def decoder(request: pytest.FixtureRequest, build: Any) -> Any:
    """With weights so large that every input matters to every output, and a task prompt."""
    made = build(config_of(request.param, task_prompt="z y"), WORDS).eval()
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if parameter.ndim == 2 and "A_log" not in name:
                parameter.mul_(6)
    return made


def padded(decoder: Any, texts: tuple[str, ...], extra: int = 0) -> TokenBatch:
    rows = decoder.tokenize(texts, end=False)
    length = max(map(len, rows)) + extra
    ids = torch.tensor([row + [-1] * (length - len(row)) for row in rows])
    return TokenBatch(ids, ids >= 0)


def vectors(decoder: Any) -> torch.Tensor:
    return torch.randn(len(TEXTS), 3, decoder.embed_dim, generator=torch.Generator().manual_seed(3))


def alone(decoder: Any) -> list[Prefix]:
    return [
        Prefix(row[None], padded(decoder, (text,)) if text else None)
        for row, text in zip(vectors(decoder), TEXTS, strict=True)
    ]


@torch.no_grad()
def test_log_probabilities_after_unequal_texts_are_those_of_each_row(decoder: Any, batch: Any) -> None:
    rows = decoder.tokenize(CAPTIONS)
    together = decoder.log_probs(Prefix(vectors(decoder), padded(decoder, TEXTS, extra=2)), batch(rows, extra=3))
    for found, row, prefix in zip(together, rows, alone(decoder), strict=True):
        expected = decoder.log_probs(prefix, batch([row]))[0]
        torch.testing.assert_close(found[: len(row)], expected, rtol=1e-4, atol=1e-4)
        assert not found[len(row) :].any()


@pytest.mark.parametrize("options", METHODS, ids=lambda each: f"{each.method}-{each.use_cache}")
def test_captions_after_unequal_texts_are_those_of_each_row(decoder: Any, options: GenerateOptions) -> None:
    seeds, count = torch.tensor([4, 5, 6]), options.num_captions
    together = decoder.generate(Prefix(vectors(decoder), padded(decoder, TEXTS, extra=2)), options, seeds)
    one_by_one = [
        decoder.generate(prefix, options, seed[None]) for prefix, seed in zip(alone(decoder), seeds, strict=True)
    ]
    assert together.ids == [ids for each in one_by_one for ids in each.ids]
    assert len(together.ids) == len(TEXTS) * count
    expected = torch.cat([each.log_probs for each in one_by_one])
    torch.testing.assert_close(together.log_probs, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_vectors_text_task_prompt_and_caption_stand_in_this_order(build: Any, batch: Any) -> None:
    decoder, plain = build(config_of("gpt2", task_prompt="z y"), WORDS).eval(), build(config_of("gpt2"), WORDS).eval()
    table = plain.model.get_input_embeddings().weight
    given, rows = vectors(decoder), decoder.tokenize(CAPTIONS)
    found = decoder.log_probs(Prefix(given, padded(decoder, TEXTS)), batch(rows))
    for row, text, caption, log_probs in zip(given, TEXTS, rows, found, strict=True):
        before = plain.tokenize([f"{text} z y"], end=False)[0]
        expected = plain.log_probs(Prefix(torch.cat([row, table[before]])[None]), batch([caption]))[0]
        torch.testing.assert_close(log_probs[: len(caption)], expected, rtol=1e-5, atol=1e-5)


def test_texts_and_captions_are_counted_row_by_row_against_the_positions(build: Any, batch: Any) -> None:
    decoder = build(config_of("gpt2"), WORDS).eval()
    (caption,) = decoder.tokenize(["b " * 50], end=False)
    long_and_short = padded(decoder, ("a " * 50, "a"))
    given = vectors(decoder)[:2]
    with torch.no_grad():  # 3 + 50 + 1 and 3 + 1 + 49 positions: each row fits, their longest parts together do not
        assert decoder.log_probs(Prefix(given, long_and_short), batch([[2], caption])).isfinite().all()
        with pytest.raises(
            IncompatibleComponents, match=r"need 102 positions; the model has 64\.\n *Shorten the texts"
        ):
            decoder.log_probs(Prefix(given, long_and_short), batch([caption, [2]]))
    with pytest.raises(IncompatibleComponents, match="max_tokens to 12"):
        decoder.generate(Prefix(given, long_and_short), GreedyOptions(max_tokens=13), torch.arange(2))
    assert decoder.generate(Prefix(given, long_and_short), GreedyOptions(max_tokens=12), torch.arange(2)).ids


def test_gradients_reach_vectors_through_texts(build: Any, batch: Any) -> None:
    decoder = build(config_of("gpt2"), WORDS)
    given = vectors(decoder).requires_grad_()
    prefix, tokens = Prefix(given, padded(decoder, TEXTS)), batch(decoder.tokenize(CAPTIONS))
    weights = torch.randn(tokens.ids.shape)
    [expected] = torch.autograd.grad(-(weights * decoder.log_probs(prefix, tokens)).sum(), given)
    [found] = torch.autograd.grad(decoder.weighted_nll(prefix, tokens, weights), given)
    assert bool(found.abs().sum(-1).all())
    torch.testing.assert_close(found, expected)
