"""Training the decoders `gpt2` and `causal-lm`: gradients, dropout, the task prompt, adapters."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from capfw.core.protocols import ComponentError, GreedyOptions, MissingLibrary, Prefix, TokenBatch
from capfw.plugins.decoders.causal_lm import CausalLMConfig, Gpt2Config

TINY = {"weights": "random", "num_layers": 2, "width": 16, "num_heads": 2, "max_positions": 64}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_size": 16,
}


def nll(decoder: Any, vectors: torch.Tensor, tokens: TokenBatch) -> torch.Tensor:
    """Summed cross entropy of the tokens after these prefix vectors."""
    return -decoder.log_probs(Prefix(vectors), tokens).sum()


def trainable(module: torch.nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_gradients_pass_through_a_frozen_model_to_the_prefix_and_the_task_prompt(
    build: Any, batch: Any, captions: Any
) -> None:
    decoder = build(Gpt2Config(**TINY, task_prompt="a dog"))
    decoder.model.requires_grad_(False)
    prefix = torch.randn(len(captions), 3, 16, requires_grad=True)
    nll(decoder, prefix, batch(decoder.tokenize(captions))).backward()
    assert float(prefix.grad.abs().sum()) > 0
    assert float(decoder.task_prompt.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in decoder.model.parameters())


def test_dropout_follows_the_mode_and_generation_leaves_it_alone(build: Any, batch: Any, captions: Any) -> None:
    decoder = build(Gpt2Config(**TINY, dropout=0.5))
    rows, prefix = batch(decoder.tokenize(captions)), torch.randn(len(captions), 3, 16)
    options, seeds = GreedyOptions(max_tokens=5), torch.arange(len(captions))
    for is_training in (True, False):
        decoder.train(is_training)
        assert torch.equal(nll(decoder, prefix, rows), nll(decoder, prefix, rows)) != is_training
        first, second = (decoder.generate(Prefix(prefix), options, seeds).log_probs for _ in range(2))
        assert torch.equal(first, second) != is_training
        assert {module.training for module in decoder.modules()} == {is_training}


def test_task_prompt_stands_after_the_image_prefix(build: Any, batch: Any, captions: Any) -> None:
    with_prompt = build(Gpt2Config(**TINY, task_prompt="a red dog")).eval()
    without = build(Gpt2Config(**TINY)).eval()
    rows, prefix = batch(without.tokenize(captions)), torch.randn(len(captions), 3, 16)
    table = without.model.get_input_embeddings().weight
    words = without.tokenizer.convert_tokens_to_ids(["a", "red", "dog"])
    longer = torch.cat([prefix, table[words].expand(len(captions), -1, -1)], dim=1)
    with torch.no_grad():
        expected = nll(without, longer, rows)
        assert float(nll(with_prompt, prefix, rows)) == pytest.approx(float(expected), rel=1e-6)
    assert (with_prompt.max_positions, without.max_positions) == (61, 64)


@pytest.mark.parametrize(
    "config", [Gpt2Config(**TINY, lora={}), CausalLMConfig(weights="random", architecture=LLAMA, lora={})]
)
def test_lora_trains_adapters_only_and_begins_where_the_weights_are(
    build: Any, batch: Any, captions: Any, config: Any
) -> None:
    pytest.importorskip("peft", reason="needs the extra capfw[lora]")
    decoder, plain = build(config), build(config.model_copy(update={"lora": None}))
    rows, prefix = batch(plain.tokenize(captions)), torch.randn(len(captions), 3, plain.embed_dim)
    plain.load_state_dict(
        {n.replace(".base_layer", ""): v for n, v in decoder.state_dict().items() if "lora_" not in n}
    )
    before = nll(decoder.eval(), prefix, rows)
    assert float(before.detach()) == pytest.approx(float(nll(plain.eval(), prefix, rows).detach()), rel=1e-6)
    assert trainable(decoder)
    assert all("lora_" in name for name in trainable(decoder))
    optimizer = torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nll(decoder.train(), prefix, rows)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < float(before.detach())


def test_lora_without_peft_names_the_install_command(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingLibrary, match=r"pip install \"capfw\[lora\]\""):
        build(Gpt2Config(**TINY, lora={}))


def test_lora_targets_that_do_not_exist_are_answered_with_those_that_do(build: Any) -> None:
    pytest.importorskip("peft", reason="needs the extra capfw[lora]")
    with pytest.raises(ComponentError, match="c_attn, c_fc, c_proj"):
        build(Gpt2Config(**TINY, lora={"targets": ["query"]}))
