"""Decoders over transformers' causal language models: `gpt2`, and `causal-lm` for every other architecture.

Both are one implementation (model.py); they differ in how a model with random weights is described.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from ....core.protocols import Component, DecoderConfig, Weights, hookimpl

ValueT = TypeVar("ValueT")

# GPT-2 small (Radford et al., 2019), and a vocabulary that holds the words of a few hundred thousand captions.
_GPT2_SMALL = {"num_layers": 12, "width": 768, "num_heads": 12, "max_positions": 1024, "dropout": 0.1}
_VOCABULARY = {"vocabulary_unit": "words", "vocabulary_size": 10_000, "min_frequency": 1}


def _only_with(info: ValidationInfo, option: str, wanted: str, value: ValueT | None, default: ValueT) -> ValueT | None:
    """`value`, or `default` for None, where `option` is `wanted`; elsewhere None, and any other value is an error."""
    if option not in info.data:  # wrong itself, and reported
        return value
    if info.data[option] == wanted:
        return default if value is None else value
    if value is not None:
        raise ValueError(f'this has a meaning only with "{option}": "{wanted}". Leave it out.')
    return None


class LoraOptions(BaseModel):
    """Low-rank adapters (LoRA: Hu et al., 2021, arXiv 2106.09685)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(8, ge=1, description="Rank of each adapter (r).")
    alpha: float = Field(16.0, gt=0, description="Adapters are scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before an adapter, while training.")
    targets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Names of the layers that get an adapter; null: those peft knows for the architecture.",
    )


class LanguageModelConfig(DecoderConfig):
    """Options that `gpt2` and `causal-lm` share."""

    weights: Weights = Field(
        "gpt2", description='Published id, local folder of save_pretrained (written "./folder"), or "random".'
    )
    tokenizer: Weights | None = Field(
        None,
        validate_default=True,
        description='"own" (of the weights), a published id, a local folder, or "from-captions": a vocabulary learned '
        'from the training captions, with "random" weights. null: "from-captions" with "random" weights, else "own".',
    )
    vocabulary_unit: Literal["words", "subwords"] | None = Field(
        None, validate_default=True, description='Entries of a "from-captions" vocabulary; only with it (then words).'
    )
    vocabulary_size: int | None = Field(
        None, ge=4, validate_default=True, description='Most entries, "from-captions" only (then 10,000).'
    )
    min_frequency: int | None = Field(
        None, ge=1, validate_default=True, description='Fewest occurrences of an entry, "from-captions" only (then 1).'
    )
    lora: LoraOptions | None = Field(
        None, description="Low-rank adapters, which alone are trained then; null: every weight can be trained."
    )
    task_prompt: str | None = Field(
        None,
        min_length=1,
        description="Text whose token embeddings stand right before the caption, as vectors that can be trained.",
    )
    stop_token: str | None = Field(
        None,
        min_length=1,
        description='Token that ends a caption and stays in it, as "." does in ClipCap; null: EOS, added in training.',
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
            raise ValueError('trained weights know their own tokens only. Write "own", or set "weights": "random".')
        return tokenizer or ("from-captions" if is_random else "own")

    @field_validator("vocabulary_unit", "vocabulary_size", "min_frequency")
    @classmethod
    def _with_vocabulary(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        return _only_with(info, "tokenizer", "from-captions", value, _VOCABULARY[str(info.field_name)])

    @abstractmethod
    def random_architecture(self) -> dict[str, JsonValue]:
        """Fields of transformers' config for "random" weights, `model_type` among them."""

    def model_type(self) -> str | None:
        """The only architecture weights may have; None when any will do."""
        return None


class Gpt2Config(LanguageModelConfig):
    """Options of the GPT-2 decoder."""

    num_layers: int | None = Field(
        None, ge=1, validate_default=True, description='Layers; only with "random" weights (then 12).'
    )
    width: int | None = Field(
        None, ge=1, validate_default=True, description='E; only with "random" weights (then 768).'
    )
    num_heads: int | None = Field(
        None, ge=1, validate_default=True, description='Attention heads; only with "random" weights (then 12).'
    )
    max_positions: int | None = Field(
        None, ge=2, validate_default=True, description='Most positions; only with "random" weights (then 1024).'
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        validate_default=True,
        description='Dropout while training; only with "random" weights (then 0.1).',
    )

    @field_validator("num_layers", "width", "num_heads", "max_positions", "dropout")
    @classmethod
    def _with_random_weights(cls, value: float | None, info: ValidationInfo) -> float | None:
        value = _only_with(info, "weights", "random", value, _GPT2_SMALL[str(info.field_name)])
        width = info.data.get("width")
        if info.field_name == "num_heads" and width and value and width % value:
            divisors = [str(n) for n in range(1, width + 1) if width % n == 0]
            raise ValueError(f"{value} heads do not divide the width {width}. Use one of {', '.join(divisors)}.")
        return value

    def random_architecture(self) -> dict[str, JsonValue]:
        """GPT-2 of the size the options say."""
        return {
            "model_type": "gpt2",
            "n_layer": self.num_layers,
            "n_embd": self.width,
            "n_head": self.num_heads,
            "n_positions": self.max_positions,
            "resid_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "attn_pdrop": self.dropout,
            "activation_function": "gelu_pytorch_tanh",  # GPT-2's own function, in one kernel: training is 1.1x as fast
        }

    def model_type(self) -> str:
        """GPT-2 only."""
        return "gpt2"


class CausalLMConfig(LanguageModelConfig):
    """Options of the decoder for any causal language model of transformers."""

    weights: Weights = Field(
        description='Published id, local folder of save_pretrained (written "./folder"), or "random".'
    )
    architecture: dict[str, JsonValue] | None = Field(
        None,
        validate_default=True,
        description='Fields of the transformers config, such as {"model_type": "llama", "hidden_size": 256}; needed '
        'with "random" weights, and only with them. The vocabulary size follows the tokenizer.',
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
        """What the user wrote."""
        return dict(self.architecture or {})


@hookimpl
def register_decoders() -> list[Component]:
    """The two decoders of this plugin."""
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
