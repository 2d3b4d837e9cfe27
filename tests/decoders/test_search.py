"""Generation: equal to transformers' own, cached or not, and ended by the right token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import CausalLMOutput

from capfw.core.protocols import (
    AverageBeamOptions,
    BeamOptions,
    ComponentError,
    Generated,
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
LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
GEMMA = {**LLAMA, "model_type": "gemma2", "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4}


@pytest.fixture(params=["gpt2", "llama", "gemma2"])
def decoder(request: pytest.FixtureRequest, build: Any) -> Any:
    """A decoder whose captions are long, unlike, and end at different places."""
    architecture = {**(LLAMA if request.param == "llama" else GEMMA), "hidden_size": 16}
    is_gpt2 = request.param == "gpt2"
    config = Gpt2Config(**TINY) if is_gpt2 else CausalLMConfig(weights="random", architecture=architecture)
    decoder = build(config, WORDS).eval()
    with torch.no_grad():
        for parameter in decoder.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(12)
    return decoder


def prefix_of(decoder: Any, num_images: int = 6) -> torch.Tensor:
    return torch.randn(num_images, 4, decoder.embed_dim, generator=torch.Generator().manual_seed(3))


def nll(decoder: Any, vectors: torch.Tensor, tokens: TokenBatch) -> torch.Tensor:
    """Summed cross entropy of the tokens after these prefix vectors."""
    return -decoder.log_probs(Prefix(vectors), tokens).sum()


def generate(decoder: Any, vectors: torch.Tensor, options: GenerateOptions, first_seed: int = 0) -> Generated:
    """Captions after these prefix vectors, by seeds that follow each other."""
    return decoder.generate(Prefix(vectors), options, torch.arange(len(vectors)) + first_seed)


def transformers_ids(decoder: Any, prefix: torch.Tensor, **options: Any) -> list[list[int]]:
    decoder.model.generation_config = GenerationConfig()
    settings = GenerationConfig(
        max_new_tokens=options.pop("max_tokens"),
        do_sample=False,
        eos_token_id=decoder.stop_id,
        pad_token_id=decoder.stop_id,
        suppress_tokens=[decoder.tokenizer.unk_token_id],
        **options,
    )
    mask = torch.ones(prefix.shape[:2], dtype=torch.int64)
    rows = decoder.model.generate(inputs_embeds=prefix, attention_mask=mask, generation_config=settings).tolist()
    return [row[: row.index(decoder.stop_id) + 1] if decoder.stop_id in row else row for row in rows]


def test_greedy_search_is_that_of_transformers(decoder: Any) -> None:
    prefix = prefix_of(decoder, 40)
    expected = transformers_ids(decoder, prefix, max_tokens=20)
    assert generate(decoder, prefix, GreedyOptions(max_tokens=20)).ids == expected
    assert len({len(row) for row in expected}) > 1, "the captions must end at different places to show anything"


@pytest.mark.parametrize("length_penalty", [1.0, 0.0, -1.5, 2.0])
def test_beam_search_is_that_of_transformers(decoder: Any, length_penalty: float) -> None:
    prefix = prefix_of(decoder)
    options = BeamOptions(max_tokens=14, num_beams=4, num_captions=3, length_penalty=length_penalty)
    expected = transformers_ids(
        decoder, prefix, max_tokens=14, num_beams=4, num_return_sequences=3, length_penalty=length_penalty
    )
    assert generate(decoder, prefix, options).ids == expected


@pytest.mark.parametrize("options", [GreedyOptions(), BeamOptions(num_captions=2), AverageBeamOptions(num_captions=2)])
def test_a_cache_changes_nothing_and_neither_does_the_batch(decoder: Any, options: GenerateOptions) -> None:
    prefix = prefix_of(decoder)
    options = options.model_copy(update={"max_tokens": 20})
    cached = generate(decoder, prefix, options)
    uncached = generate(decoder, prefix, options.model_copy(update={"use_cache": False}))
    alone = [ids for row in prefix for ids in generate(decoder, row[None], options).ids]
    assert cached.ids == uncached.ids == alone
    torch.testing.assert_close(cached.log_probs, uncached.log_probs, rtol=1e-4, atol=1e-4)
    assert len(cached.ids) == len(prefix) * options.num_captions


@pytest.mark.parametrize(
    "options",
    [
        GreedyOptions(max_tokens=9),
        BeamOptions(max_tokens=9, num_captions=3, length_penalty=0.5),
        AverageBeamOptions(max_tokens=9, num_captions=3, temperature=0.5),
        NucleusOptions(max_tokens=9, num_captions=3, temperature=2.0, top_p=0.8),
    ],
)
def test_log_probabilities_are_those_of_the_unprocessed_model(decoder: Any, batch: Any, options: Any) -> None:
    prefix = prefix_of(decoder, 3)
    made = generate(decoder, prefix, options)
    repeated = prefix.repeat_interleave(options.num_captions, dim=0)
    with torch.no_grad():
        expected = [-nll(decoder, repeated[i : i + 1], batch([ids])) for i, ids in enumerate(made.ids)]
    torch.testing.assert_close(made.log_probs, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_search_over_every_caption_finds_the_likeliest(build: Any, batch: Any) -> None:
    decoder = build(Gpt2Config(**TINY), ["a b"]).eval()  # [EOS] [UNK] a b
    prefix = prefix_of(decoder, 1)
    captions = [[0], [2, 0], [3, 0], *([i, j, k] for i in (2, 3) for j in (2, 3) for k in (0, 2, 3))]
    with torch.no_grad():
        log_probs = [-float(nll(decoder, prefix, batch([ids]))) for ids in captions]
    ranked = sorted(zip(log_probs, captions, strict=True), reverse=True)
    options = BeamOptions(max_tokens=3, num_beams=12, num_captions=12, length_penalty=0.0)
    made = generate(decoder, prefix, options)
    assert made.ids[:5] == [ids for _, ids in ranked[:5]]


def test_sampled_captions_stand_image_by_image_the_likeliest_first(decoder: Any) -> None:
    made = generate(decoder, prefix_of(decoder, 2), NucleusOptions(max_tokens=8, num_captions=5, top_p=1.0))
    log_probs = made.log_probs.view(2, 5)
    assert torch.equal(log_probs, log_probs.sort(dim=1, descending=True).values)
    assert len({tuple(ids) for ids in made.ids}) > 5


def test_a_nucleus_of_one_token_is_greedy(decoder: Any) -> None:
    prefix = prefix_of(decoder)
    greedy = generate(decoder, prefix, GreedyOptions(max_tokens=8))
    assert generate(decoder, prefix, NucleusOptions(max_tokens=8, top_p=1e-6)).ids == greedy.ids


def test_sampling_draws_with_the_models_probabilities(build: Any) -> None:
    decoder = build(Gpt2Config(**TINY), ["a b"]).eval()
    prefix = torch.zeros(1, 2, 16)
    with torch.no_grad():
        logits = decoder.model(inputs_embeds=prefix).logits[0, -1] / 0.5
    logits[decoder.tokenizer.unk_token_id] = -torch.inf
    options = NucleusOptions(max_tokens=1, top_p=1.0, temperature=0.5, num_captions=20_000)
    drawn = torch.tensor([ids[0] for ids in generate(decoder, prefix, options).ids])
    torch.testing.assert_close(drawn.bincount(minlength=4) / len(drawn), logits.softmax(-1), rtol=0, atol=0.015)


def test_captions_end_at_the_stop_token_which_they_keep(build: Any) -> None:
    text = "a dog . b"
    decoder = build(Gpt2Config(**TINY, stop_token="."), [text]).eval()
    (row,) = decoder.tokenize([text])
    assert decoder.tokenizer.eos_token_id not in row
    assert decoder.detokenize([row[:3]]) == ["a dog."]
    made = generate(decoder, prefix_of(decoder, 8), NucleusOptions(max_tokens=30, num_captions=4))
    stop = row[2]
    assert all(stop not in ids[:-1] for ids in made.ids)
    assert {ids[-1] == stop for ids in made.ids if len(ids) < 30} == {True}


def test_a_stop_token_that_is_not_one_token_is_refused(build: Any) -> None:
    with pytest.raises(ComponentError, match='"the end" is not one token') as caught:
        build(Gpt2Config(**TINY, stop_token="the end"), WORDS)
    assert caught.value.option == "stop_token"


def test_more_positions_than_the_model_has_are_refused(build: Any) -> None:
    decoder = build(Gpt2Config(**TINY, task_prompt="a b"), WORDS).eval()
    prefix = torch.randn(1, 4, 16)
    assert len(generate(decoder, prefix, GreedyOptions(max_tokens=59)).ids) == 1  # 4 + 2 + 59 - 1 = 64
    with pytest.raises(IncompatibleComponents, match="max_tokens to 59"):
        generate(decoder, prefix, GreedyOptions(max_tokens=60))


def test_more_beams_than_there_are_tokens_to_begin_with_are_refused(build: Any) -> None:
    decoder = build(Gpt2Config(**TINY), ["a b"])
    with pytest.raises(IncompatibleComponents, match="the vocabulary has 4"):
        generate(decoder, prefix_of(decoder), AverageBeamOptions(num_beams=5))


@pytest.mark.gpu
@pytest.mark.parametrize("options", [GreedyOptions(), BeamOptions(num_captions=2), AverageBeamOptions(num_captions=2)])
def test_a_gpu_gives_the_captions_of_the_cpu(decoder: Any, options: GenerateOptions) -> None:
    prefix = prefix_of(decoder)
    options = options.model_copy(update={"max_tokens": 12})
    expected = generate(decoder, prefix, options)
    made = generate(decoder.cuda(), prefix.cuda(), options)
    assert made.ids == expected.ids
    torch.testing.assert_close(made.log_probs.cpu(), expected.log_probs, rtol=1e-3, atol=1e-3)


def test_a_model_that_keeps_nothing_is_generated_from_without_a_cache(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = {"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 16, "state_size": 4}
    decoder = build(CausalLMConfig(weights="random", architecture=architecture), WORDS).eval()
    prefix = prefix_of(decoder, 2)
    expected = transformers_ids(decoder, prefix, max_tokens=4)
    forward = decoder.model.forward

    def forget(**inputs: Any) -> CausalLMOutput:  # as Mamba does before transformers 5.24
        return CausalLMOutput(logits=forward(**inputs).logits)

    monkeypatch.setattr(decoder.model, "forward", forget)
    with pytest.raises(ComponentError, match="Set /generate/use_cache to false"):
        generate(decoder, prefix, GreedyOptions(max_tokens=4))
    assert generate(decoder, prefix, GreedyOptions(max_tokens=4, use_cache=False)).ids == expected
