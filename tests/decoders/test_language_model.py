"""Decoders `gpt2` and `causal-lm`: log-probabilities, weights in folders, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from capfw.core.errors import SpecError
from capfw.core.protocols import (
    BadCheckpoint,
    ComponentError,
    GreedyOptions,
    MissingWeights,
    Prefix,
    TokenBatch,
)
from capfw.plugins.decoders.causal_lm import CausalLMConfig, Gpt2Config

TINY = {"weights": "random", "num_layers": 2, "width": 16, "num_heads": 2, "max_positions": 64}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": 16},
    "gemma2": {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": 32,
        "hidden_size": 16,
        "final_logit_softcapping": 0.5,  # caps logits behind the output layer
        "sliding_window": 4,
    },
    "cohere": {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_size": 16,
        "logit_scale": 3.0,  # scales logits behind the output layer
    },
    "opt": {  # positions start at 2, embeddings narrower than the layers
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 32,
        "hidden_size": 16,
        "word_embed_proj_dim": 8,
        "max_position_embeddings": 64,
    },
    "bloom": {"n_layer": 2, "n_head": 2, "hidden_size": 16},  # no positions: ALiBi
    "gpt_neox": {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": 16},
    "qwen2": {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
        "hidden_size": 16,
    },
}


def causal_config(model_type: str, **options: Any) -> CausalLMConfig:
    return CausalLMConfig(
        weights="random", architecture={"model_type": model_type, **ARCHITECTURES[model_type]}, **options
    )


def enlarge(decoder: Any) -> Any:
    """Weights so large that every input matters to every output."""
    with torch.no_grad():
        for parameter in decoder.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return decoder


def nll(decoder: Any, vectors: torch.Tensor, tokens: TokenBatch) -> torch.Tensor:
    """Summed cross entropy of the tokens after these prefix vectors."""
    return -decoder.log_probs(Prefix(vectors), tokens).sum()


def hugging_face_loss(decoder: Any, prefix: torch.Tensor, rows: list[list[int]]) -> float:
    """Sum over the rows, one at a time, of what transformers says for labels that are -100 on the prefix."""
    total = 0.0
    for row, caption in zip(prefix, rows, strict=True):
        ids = torch.tensor([caption])
        inputs = torch.cat([row[None], decoder.model.get_input_embeddings()(ids)], dim=1)
        labels = torch.cat([torch.full((1, len(row)), -100), ids], dim=1)
        with torch.no_grad():
            total += float(decoder.model(inputs_embeds=inputs, labels=labels).loss) * len(caption)
    return total


@pytest.mark.parametrize("model_type", ["gpt2", *ARCHITECTURES])
def test_loss_is_that_of_transformers_and_independent_of_padding(
    build: Any, batch: Any, captions: Any, model_type: str
) -> None:
    config = Gpt2Config(**TINY) if model_type == "gpt2" else causal_config(model_type)
    decoder = enlarge(build(config)).double().eval()
    rows = decoder.tokenize(captions)
    prefix = torch.randn(len(rows), 3, decoder.embed_dim, dtype=torch.float64)
    with torch.no_grad():
        total = nll(decoder, prefix, batch(rows, extra=5))
        alone = [float(nll(decoder, prefix[i : i + 1], batch([row]))) for i, row in enumerate(rows)]
    # Some architectures compute norms or positions in float32 even in a float64 model.
    assert float(total) == pytest.approx(sum(alone), rel=0, abs=1e-10 if model_type == "gpt2" else 1e-5)
    assert float(total) == pytest.approx(hugging_face_loss(decoder, prefix, rows), rel=1e-5)


def test_first_token_is_predicted_from_the_last_prefix_vector(build: Any, batch: Any) -> None:
    decoder = build(Gpt2Config(**TINY)).eval()
    prefix = torch.randn(1, 3, 16)
    with torch.no_grad():
        found = decoder.log_probs(Prefix(prefix), batch([[5]]))
        expected = decoder.model(inputs_embeds=prefix).logits[0, -1].log_softmax(-1)[5]
    torch.testing.assert_close(found, expected.view(1, 1))


def test_a_step_without_targets_costs_nothing_and_has_gradients(build: Any) -> None:
    decoder = build(Gpt2Config(**TINY))
    prefix = torch.randn(2, 3, 16, requires_grad=True)
    nothing = TokenBatch(torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4).bool())
    for loss in (nll(decoder, prefix, nothing), decoder.weighted_nll(Prefix(prefix), nothing, torch.ones(2, 4))):
        prefix.grad = None
        loss.backward()
        assert (float(loss.detach()), float(prefix.grad.abs().sum())) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"num_layers": 2}, "num_layers", 'only with "weights": "random"'),
        ({"dropout": 0.5}, "dropout", 'only with "weights": "random"'),
        ({"vocabulary_size": 100}, "vocabulary_size", 'only with "tokenizer": "from-captions"'),
        ({"weights": "random", "tokenizer": "own"}, "tokenizer", 'write "from-captions"'),
        ({"tokenizer": "from-captions"}, "tokenizer", 'Write "own"'),
        ({"weights": "random", "width": 20, "num_heads": 3}, "num_heads", "Use one of 1, 2, 4, 5, 10, 20"),
    ],
)
def test_options_without_effect_are_refused_where_they_stand(options: Any, place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Gpt2Config(**options)
    [problem] = caught.value.problems
    assert problem.pointer == f"/{place}"
    assert message in problem.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "random"}, "model_type"),
        ({"weights": "random", "architecture": {"model_type": "llama", "vocab_size": 9}}, "follows the tokenizer"),
        ({"weights": "gpt2", "architecture": {"model_type": "llama"}}, 'only with "weights": "random"'),
    ],
)
def test_architecture_goes_with_random_weights(options: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CausalLMConfig(**options)


@pytest.mark.parametrize(
    "config", [Gpt2Config(), Gpt2Config(weights="random"), Gpt2Config(lora={"rank": 2}), causal_config("llama")]
)
def test_a_config_with_its_defaults_written_out_is_the_same_config(config: Any) -> None:
    assert type(config).model_validate_json(config.model_dump_json()) == config


def test_an_encoder_is_not_taken_for_a_language_model(build: Any) -> None:
    bert = {"model_type": "bert", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
    with pytest.raises(ComponentError, match="attends to later positions"):
        build(CausalLMConfig(weights="random", architecture=bert))
    build(CausalLMConfig(weights="random", architecture={**bert, "is_decoder": True}))


@pytest.mark.parametrize(
    "architecture",
    [
        {"model_type": "lama"},
        {"model_type": "vit"},
        {"model_type": "llama", "hidden_size": 15, "num_attention_heads": 2},
        {"model_type": "qwen2", "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 3},
    ],
)
def test_an_architecture_that_cannot_be_a_language_model_is_refused(build: Any, architecture: dict[str, Any]) -> None:
    with pytest.raises(ComponentError) as caught:
        build(CausalLMConfig(weights="random", architecture=architecture))
    assert caught.value.option == "architecture"


@pytest.fixture
def folder(tmp_path: Path, build: Any) -> Path:
    """A tiny GPT-2 with a tokenizer, as save_pretrained writes them."""
    decoder = build(Gpt2Config(**TINY))
    decoder.model.save_pretrained(tmp_path / "gpt2")
    decoder.tokenizer.save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


def test_a_local_folder_is_read_and_its_generation_settings_are_not(build: Any, folder: Path) -> None:
    prefix = torch.randn(2, 3, 16)
    plain = (
        build(Gpt2Config(weights=str(folder)))
        .eval()
        .generate(Prefix(prefix), GreedyOptions(max_tokens=6), torch.arange(2))
    )
    settings = transformers.GenerationConfig(do_sample=True, temperature=5.0, max_length=4, repetition_penalty=9.0)
    settings.save_pretrained(folder)
    again = (
        build(Gpt2Config(weights=str(folder)))
        .eval()
        .generate(Prefix(prefix), GreedyOptions(max_tokens=6), torch.arange(2))
    )
    assert again.ids == plain.ids


def test_a_tuned_run_outlives_the_folder_it_started_from(tmp_path: Path, folder: Path, captions: Any) -> None:
    from capfw.plugins.decoders.causal_lm.model import LanguageModel

    config = Gpt2Config(weights=str(folder))
    LanguageModel.prepare(config, captions=captions, assets=tmp_path)
    tuned = LanguageModel(config, assets=tmp_path)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingWeights, match="is not a folder"):
        LanguageModel(config, assets=tmp_path)
    again = LanguageModel.restore(config, assets=tmp_path)
    again.load_state_dict(tuned.state_dict())
    prefix, seeds = Prefix(torch.randn(2, 3, 16)), torch.arange(2)
    made = [decoder.eval().generate(prefix, GreedyOptions(), seeds).ids for decoder in (again, tuned)]
    assert made[0] == made[1]


def test_adapters_stand_on_published_weights_which_a_restored_decoder_reads(
    tmp_path: Path, folder: Path, captions: Any
) -> None:
    pytest.importorskip("peft", reason="needs the extra capfw[lora]")
    from capfw.plugins.decoders.causal_lm.model import LanguageModel

    config = Gpt2Config(weights=str(folder), lora={})
    LanguageModel.prepare(config, captions=captions, assets=tmp_path)
    published = transformers.AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight
    restored = LanguageModel.restore(config, assets=tmp_path)
    torch.testing.assert_close(restored.model.get_input_embeddings().weight, published)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingWeights, match="is not a folder"):
        LanguageModel.restore(config, assets=tmp_path)


def test_checkpoints_that_do_not_fit_are_refused(build: Any, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    state = load_file(file)
    del state["transformer.h.1.ln_1.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(BadCheckpoint, match=r"lacks 1 weights .* transformer\.h\.1\.ln_1\.weight"):
        build(Gpt2Config(weights=str(folder)))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        build(Gpt2Config(weights=str(folder)))
    file.unlink()
    with pytest.raises(MissingWeights, match="lacks a file"):
        build(Gpt2Config(weights=str(folder)))
    assert capfd.readouterr().err == ""  # transformers' own reports are not for our users


def test_a_folder_of_another_architecture_names_the_other_decoder(build: Any, tmp_path: Path) -> None:
    llama = build(causal_config("llama"))
    llama.model.save_pretrained(tmp_path / "llama")
    llama.tokenizer.save_pretrained(tmp_path / "llama")
    with pytest.raises(BadCheckpoint, match='Use decoder "causal-lm"'):
        build(Gpt2Config(weights=str(tmp_path / "llama")))
    again = build(CausalLMConfig(weights=str(tmp_path / "llama")))
    torch.testing.assert_close(dict(again.state_dict()), dict(llama.state_dict()))


def test_a_published_name_that_is_not_here_says_where_to_put_it(build: Any) -> None:
    with pytest.raises(MissingWeights, match="nobody/no-such-model is not on this machine") as caught:
        build(Gpt2Config(weights="nobody/no-such-model"))
    assert caught.value.option == "weights"
    assert "hf download nobody/no-such-model " in str(caught.value)
    assert 'name a local file or folder ("./folder")' in str(caught.value)


def test_a_tokenizer_with_more_tokens_than_the_weights_know_is_refused(
    build: Any, folder: Path, shared_data: Path
) -> None:
    with pytest.raises(ComponentError, match="the tokenizer has 50257 tokens, but the weights have"):
        build(Gpt2Config(weights=str(folder), tokenizer=str(shared_data / "gpt2_tokenizer")))


def test_nothing_is_printed(build: Any, folder: Path, capfd: pytest.CaptureFixture[str], recwarn: Any) -> None:
    pytest.importorskip("peft", reason="needs the extra capfw[lora]")
    capfd.readouterr()
    for options in ({}, {"task_prompt": "a dog"}, {"lora": {}}):
        decoder = build(Gpt2Config(weights=str(folder), **options))
        decoder.tokenize(["a dog " * 200])  # longer than the model has positions
        decoder.generate(Prefix(torch.randn(2, 3, 16)), GreedyOptions(max_tokens=3), torch.arange(2))
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_captions_are_memorised_word_for_word(build: Any, batch: Any, captions: Any) -> None:
    decoder = build(Gpt2Config(**TINY, dropout=0.0)).train()
    torch.manual_seed(1)
    prefix = torch.randn(len(captions), 2, 16)
    tokens = batch(decoder.tokenize(captions))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    for _ in range(120):
        loss = decoder.weighted_nll(Prefix(prefix), tokens, tokens.mask / tokens.mask.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made = decoder.generate(Prefix(prefix), GreedyOptions(max_tokens=20), torch.arange(len(captions)))
    assert decoder.detokenize(made.ids) == [
        "a man's dog runs.",
        "two dogs play in the snow",
        "a red bus, parked on the street!",
        "a dog runs in the red snow.",
    ]
    alone = [nll(decoder, prefix[i : i + 1], batch([row])) for i, row in enumerate(made.ids)]
    torch.testing.assert_close(made.log_probs, -torch.stack(alone).detach(), rtol=1e-4, atol=1e-4)
