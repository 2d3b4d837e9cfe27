"""Causal language models of the transformers library: `gpt2`, and `causal-lm` for every other architecture.

Both share one implementation (model.py). They differ in the options that describe a model with random weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from ....core.protocols import Component, DecoderConfig, Weights, hookimpl
from ...libraries.attention import fitting_heads

ValueT = TypeVar("ValueT")

# GPT-2 small (Radford et al., 2019), and a vocabulary large enough for a few hundred thousand captions.
_GPT2_SMALL = {"num_layers": 12, "width": 768, "num_heads": 12, "max_positions": 1024, "dropout": 0.1}
_VOCABULARY = {"vocabulary_unit": "words", "vocabulary_size": 10_000, "min_frequency": 1}


def _only_with(info: ValidationInfo, option: str, wanted: str, value: ValueT | None, default: ValueT) -> ValueT | None:
    """Returns `value`, or `default` for None, where `option` is `wanted`; otherwise returns None and refuses a value."""
    if option not in info.data:  # that option is itself wrong, and already reported
        return value
    if info.data[option] == wanted:
        return default if value is None else value
    if value is not None:
        raise ValueError(f'this option works only with "{option}": "{wanted}". Leave it out.')
    return None


class LoraOptions(BaseModel):
    """Low-rank adapters (LoRA: Hu et al., 2021, arXiv 2106.09685)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(8, ge=1, description="Rank r of each adapter.")
    alpha: float = Field(16.0, gt=0, description="Scale of the adapters: they are multiplied by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before each adapter while training.")
    targets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Names of the layers that get an adapter; null: peft's default for the architecture.",
    )


class LanguageModelConfig(DecoderConfig):
    """Options that `gpt2` and `causal-lm` share."""

    weights: Weights = Field(
        "gpt2", description='Published id, local folder written by save_pretrained ("./folder"), or "random".'
    )
    tokenizer: Weights | None = Field(
        None,
        validate_default=True,
        description='"own" (that of the weights), a published id, a local folder, or "from-captions" (a vocabulary learned '
        'from the training captions; "random" weights only). null: "from-captions" for "random" weights, else "own".',
    )
    vocabulary_unit: Literal["words", "subwords"] | None = Field(
        None, validate_default=True, description='Unit of a "from-captions" vocabulary; null: "words".'
    )
    vocabulary_size: int | None = Field(
        None,
        ge=4,
        validate_default=True,
        description='Maximum number of entries of a "from-captions" vocabulary; null: 10,000.',
    )
    min_frequency: int | None = Field(
        None,
        ge=1,
        validate_default=True,
        description='Minimum count of an entry of a "from-captions" vocabulary; null: 1.',
    )
    lora: LoraOptions | None = Field(
        None, description="Low-rank adapters, trained in place of the decoder's own weights; null: no adapters."
    )
    task_prompt: str | None = Field(
        None,
        min_length=1,
        description="Text right before the caption; its token embeddings are trainable vectors.",
    )
    stop_token: str | None = Field(
        None,
        min_length=1,
        description='Token that ends a caption and is part of it, as "." in ClipCap; null: EOS, which training adds.',
    )

    @field_validator("tokenizer")
    @classmethod
    def _tokenizer_of_weights(cls, tokenizer: str | None, info: ValidationInfo) -> str | None:
        if "weights" not in info.data:
            return tokenizer
        is_random = info.data["weights"] == "random"
        if tokenizer == "own" and is_random:
            raise ValueError('"random" weights have no tokenizer. Name one, or write "from-captions".')
        if tokenizer == "from-captions" and not is_random:
            raise ValueError('trained weights need their own tokenizer. Write "own", or set "weights": "random".')
        return tokenizer or ("from-captions" if is_random else "own")

    @field_validator("vocabulary_unit", "vocabulary_size", "min_frequency")
    @classmethod
    def _with_vocabulary(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        return _only_with(info, "tokenizer", "from-captions", value, _VOCABULARY[str(info.field_name)])

    def unknown_words(self, captions: Iterable[str], *, assets: Path) -> Mapping[str, int]:
        """Returns the words that the vocabulary learned by an earlier run lacks; a published tokenizer lacks none."""
        if self.tokenizer != "from-captions":
            return {}
        from .unknown import count_unknown_words  # its library is loaded here: this half stays light

        return count_unknown_words(captions, assets / "tokenizer.json")

    @abstractmethod
    def random_architecture(self) -> dict[str, JsonValue]:
        """Fields of transformers' config for "random" weights, with `model_type`."""

    def model_type(self) -> str | None:
        """The architecture that the weights must have; None: any."""
        return None


class Gpt2Config(LanguageModelConfig):
    """Options of the GPT-2 decoder."""

    num_layers: int | None = Field(
        None, ge=1, validate_default=True, description='Transformer layers, for "random" weights only; null: 12.'
    )
    width: int | None = Field(
        None,
        ge=1,
        validate_default=True,
        description='Width of the embeddings (E), for "random" weights only; null: 768.',
    )
    num_heads: int | None = Field(
        None, ge=1, validate_default=True, description='Attention heads, for "random" weights only; null: 12.'
    )
    max_positions: int | None = Field(
        None,
        ge=2,
        validate_default=True,
        description='Maximum number of positions, for "random" weights only; null: 1024.',
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        validate_default=True,
        description='Dropout while training, for "random" weights only; null: 0.1.',
    )

    @field_validator("num_layers", "width", "num_heads", "max_positions", "dropout")
    @classmethod
    def _with_random_weights(cls, value: float | None, info: ValidationInfo) -> float | None:
        value = _only_with(info, "weights", "random", value, _GPT2_SMALL[str(info.field_name)])
        width = info.data.get("width")
        if info.field_name == "num_heads" and width and value and width % value:
            raise ValueError(f"{value} heads do not divide the width {width}. {fitting_heads(width)}")
        return value

    def random_architecture(self) -> dict[str, JsonValue]:
        """The config of a GPT-2 of the size that the options state."""
        return {
            "model_type": "gpt2",
            "n_layer": self.num_layers,
            "n_embd": self.width,
            "n_head": self.num_heads,
            "n_positions": self.max_positions,
            "resid_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "attn_pdrop": self.dropout,
            "activation_function": "gelu_pytorch_tanh",  # GPT-2's function in one kernel: training is 1.1 times as fast
        }

    def model_type(self) -> str:
        """GPT-2 only."""
        return "gpt2"


class CausalLMConfig(LanguageModelConfig):
    """Options of the decoder for any causal language model of transformers."""

    weights: Weights = Field(
        description='Published id, local folder written by save_pretrained ("./folder"), or "random".'
    )
    architecture: dict[str, JsonValue] | None = Field(
        None,
        validate_default=True,
        description='Fields of the transformers config, such as {"model_type": "llama", "hidden_size": 256}; required '
        'for "random" weights, refused for others. The tokenizer determines the vocabulary size.',
    )

    @field_validator("architecture")
    @classmethod
    def _with_random_weights(
        cls, architecture: dict[str, JsonValue] | None, info: ValidationInfo
    ) -> dict[str, JsonValue] | None:
        architecture = _only_with(info, "weights", "random", architecture, {})
        if architecture is not None and not isinstance(architecture.get("model_type"), str):
            raise ValueError('"random" weights need an architecture: write at least {"model_type": "..."}.')
        if architecture is not None and "vocab_size" in architecture:
            raise ValueError("vocab_size follows the tokenizer. Leave it out.")
        return architecture

    def random_architecture(self) -> dict[str, JsonValue]:
        """The fields from the spec."""
        return dict(self.architecture or {})


@hookimpl
def register_decoders() -> list[Component]:
    """Registers "gpt2" and "causal-lm"."""
    tiny_llama: dict[str, JsonValue] = {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
    }
    return [
        Component(
            name="gpt2",
            config=Gpt2Config,
            target=f"{__name__}.model:LanguageModel",
            summary="GPT-2: published, local or from scratch; trained whole, by adapters, or frozen.",
            example=Gpt2Config(weights="random", num_layers=1, width=32, num_heads=2, max_positions=128),
            starter=Gpt2Config(weights="gpt2"),
            needs="a download of about 550 MB",
            is_recommended=True,
            source="GPT-2 (Radford et al., 2019), through transformers; task prompt and prefix as in ClipCap",
        ),
        Component(
            name="causal-lm",
            config=CausalLMConfig,
            target=f"{__name__}.model:LanguageModel",
            summary="Any causal language model of transformers, fed through its input embeddings.",
            example=CausalLMConfig(weights="random", architecture=tiny_llama),
            source="transformers (Wolf et al., 2020, arXiv 1910.03771)",
        ),
    ]
