"""Mappers: shapes, refusals, and equality with the networks of ClipCap and of gpt2-image-captioning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from capfw.core.errors import SpecError
from capfw.core.protocols import ComponentError, FeatureShape, IncompatibleComponents
from capfw.plugins.mappers.clipcap_transformer import ClipCapTransformerConfig
from capfw.plugins.mappers.clipcap_transformer.model import ClipCapTransformerMapper
from capfw.plugins.mappers.linear import LinearConfig
from capfw.plugins.mappers.linear.model import LinearMapper
from capfw.plugins.mappers.mlp import MlpConfig
from capfw.plugins.mappers.mlp.model import MlpMapper
from capfw.plugins.mappers.perceiver import PerceiverConfig
from capfw.plugins.mappers.perceiver.model import PerceiverMapper
from capfw.plugins.mappers.transformer import TransformerConfig
from capfw.plugins.mappers.transformer.model import TransformerMapper

POOLED, TOKENS = FeatureShape(1, 12), FeatureShape(9, 12)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def load_foreign(mapper: Any, state: dict[str, Tensor]) -> None:
    names = mapper.foreign_names(state)
    mapper.load_state_dict({ours: state[name] for name, ours in names.items()})  # strict: nothing missing


def test_mlp_is_two_layers_with_half_the_output_between() -> None:
    mapper = MlpMapper(MlpConfig(prefix_length=4), features=POOLED, embed_dim=8)
    assert count(mapper) == (12 * 16 + 16) + (16 * 32 + 32)
    assert mapper(torch.randn(3, 1, 12)).shape == (3, 4, 8)


def test_linear_is_affine() -> None:
    mapper = LinearMapper(LinearConfig(prefix_length=4), features=POOLED, embed_dim=8)
    x, y = torch.randn(2, 3, 1, 12)
    torch.testing.assert_close(mapper(x) + mapper(y), mapper(x + y) + mapper(torch.zeros_like(x)))
    assert count(mapper) == 12 * 32 + 32


@pytest.mark.parametrize("features", [POOLED, TOKENS])
def test_transformer_reads_pooled_embeddings_and_tokens(features: FeatureShape) -> None:
    config = TransformerConfig(prefix_length=4, num_layers=2, num_heads=2)
    mapper = TransformerMapper(config, features=features, embed_dim=8).eval()
    images = torch.randn(3, features.num_tokens, 12)
    assert mapper(images).shape == (3, 4, 8)
    torch.testing.assert_close(mapper(images)[1:2], mapper(images[1:2]))


def test_transformer_unfolds_a_pooled_embedding_into_as_many_tokens_as_asked() -> None:
    def projection(num_image_tokens: int | None) -> int:
        config = TransformerConfig(prefix_length=4, num_image_tokens=num_image_tokens, num_layers=1, num_heads=2)
        return TransformerMapper(config, features=POOLED, embed_dim=8).project.out_features

    assert (projection(3), projection(None)) == (3 * 8, 4 * 8)


@pytest.mark.parametrize(
    ("mapper_class", "config"),
    [
        (TransformerMapper, TransformerConfig(prefix_length=2, num_layers=2, num_heads=2)),
        (PerceiverMapper, PerceiverConfig(prefix_length=2, num_layers=2, num_heads=2)),
    ],
)
def test_only_position_embeddings_tell_the_order_of_tokens(mapper_class: Any, config: Any) -> None:
    images = torch.randn(2, 9, 12)
    for is_ordered in (False, True):
        ordered = config.model_copy(update={"position_embeddings": is_ordered})
        mapper = mapper_class(ordered, features=TOKENS, embed_dim=8).eval()
        same = torch.allclose(mapper(images), mapper(images.flip(1)), atol=1e-5)
        assert same is not is_ordered


@pytest.mark.parametrize(
    ("mapper_class", "config"),
    [
        (TransformerMapper, TransformerConfig(num_heads=5)),
        (PerceiverMapper, PerceiverConfig(num_heads=5)),
        (ClipCapTransformerMapper, ClipCapTransformerConfig(num_heads=5)),
    ],
)
def test_heads_that_do_not_divide_the_width_are_refused_with_those_that_do(mapper_class: Any, config: Any) -> None:
    features = TOKENS if mapper_class is PerceiverMapper else POOLED
    with pytest.raises(ComponentError, match="5 heads do not divide the decoder's width 12") as caught:
        mapper_class(config, features=features, embed_dim=12)
    assert caught.value.option == "num_heads"
    assert caught.value.fix == "Use one of 1, 2, 3, 4, 6, 12."


@pytest.mark.parametrize(
    ("mapper_class", "config"),
    [
        (MlpMapper, MlpConfig()),
        (LinearMapper, LinearConfig()),
        (ClipCapTransformerMapper, ClipCapTransformerConfig()),
        (TransformerMapper, TransformerConfig(num_image_tokens=4)),
    ],
)
def test_what_needs_a_pooled_embedding_refuses_tokens_and_says_so_before_building(
    mapper_class: Any, config: Any
) -> None:
    assert config.required_features() == "pooled"
    with pytest.raises(IncompatibleComponents, match=r"the encoder emits 9 tokens \(B, 9, 12\)"):
        mapper_class(config, features=TOKENS, embed_dim=8)


@pytest.mark.parametrize(
    ("mapper_class", "config"),
    [(PerceiverMapper, PerceiverConfig()), (TransformerMapper, TransformerConfig(position_embeddings=True))],
)
def test_what_needs_tokens_refuses_a_pooled_embedding(mapper_class: Any, config: Any) -> None:
    assert config.required_features() == "tokens"
    with pytest.raises(ComponentError, match="one pooled embedding"):
        mapper_class(config, features=POOLED, embed_dim=8)


def test_transformer_reads_both_kinds_of_features_by_default() -> None:
    assert TransformerConfig().required_features() is None
    with pytest.raises(SpecError, match="leave one out"):
        TransformerConfig(num_image_tokens=4, position_embeddings=True)


def test_layers_of_the_transformer_start_with_different_weights() -> None:
    mapper = TransformerMapper(TransformerConfig(num_layers=2, num_heads=2), features=POOLED, embed_dim=8)
    first, second = (layer.linear1.weight for layer in mapper.layers)
    assert not torch.equal(first, second)


def test_perceiver_reads_every_token() -> None:
    config = PerceiverConfig(prefix_length=2, num_layers=1, num_heads=2)
    mapper = PerceiverMapper(config, features=TOKENS, embed_dim=8).eval()
    images = torch.randn(1, 9, 12, requires_grad=True)
    mapper(images).square().sum().backward()
    assert bool((images.grad.abs().sum(-1) > 0).all())


def build_seed_mapper(facts: dict[str, Any]) -> nn.Module:
    features, width = FeatureShape(1, facts["embed_dim"]), facts["gpt_dim"]
    if facts["type"] == "mlp":
        return MlpMapper(MlpConfig(prefix_length=facts["prefix_length"]), features=features, embed_dim=width)
    config = TransformerConfig(
        prefix_length=facts["prefix_length"],
        num_image_tokens=facts["hidden_length"],
        num_layers=facts.get("num_layers", 8),
    )
    return TransformerMapper(config, features=features, embed_dim=width)


def test_mlp_and_transformer_compute_what_gpt2_image_captioning_does(golden: Path) -> None:
    folder = golden / "seed_mappers"
    facts = json.loads((folder / "config.json").read_text())
    images = load_file(folder / facts["batch"])["image_embeddings"][:, None]
    for case in facts["cases"].values():
        mapper = build_seed_mapper(case["mapping_network"]).eval()
        load_foreign(mapper, torch.load(folder / case["checkpoint"], weights_only=True))
        expected = load_file(folder / case["expected"])["prefix_tokens"]
        torch.testing.assert_close(mapper(images), expected, rtol=1e-4, atol=1e-4)


def test_both_mappers_compute_what_clipcap_does(golden: Path) -> None:
    folder = golden / "clipcap"
    facts = json.loads((folder / "config.json").read_text())
    data = load_file(folder / "dataset_expected.safetensors")
    for case in facts["cases"].values():
        state = torch.load(folder / case["checkpoint"], weights_only=True)
        width = state["gpt.transformer.wte.weight"].shape[1]
        features = FeatureShape(1, case["prefix_size"])
        if case["mapping_type"] == "mlp":
            config: Any = MlpConfig(prefix_length=case["prefix_length"])
            mapper: Any = MlpMapper(config, features=features, embed_dim=width)
        else:
            config = ClipCapTransformerConfig(
                prefix_length=case["prefix_length"],
                num_image_tokens=case["clip_length"],
                num_layers=case["num_layers"],
            )
            mapper = ClipCapTransformerMapper(config, features=features, embed_dim=width)
        load_foreign(mapper, state)
        expected = load_file(folder / case["expected"])["prefix_projections"].view(-1, case["prefix_length"], width)
        torch.testing.assert_close(mapper(data["prefix_raw"].float()[:, None]), expected, rtol=1e-4, atol=1e-4)
