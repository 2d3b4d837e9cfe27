"""Tokenizers and language models from where the config says: the hub, a folder, or nothing but an architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D

from ....core.protocols import BadCheckpoint, ComponentError, MissingLibrary, MissingWeights, is_local_path
from ...libraries.transformers import first_line, load_pretrained, quiet
from . import LanguageModelConfig, LoraOptions

LoadedT = TypeVar("LoadedT")


def load_tokenizer(config: LanguageModelConfig) -> PreTrainedTokenizerFast:
    """The tokenizer of the weights, or the one that is named. Raises `ComponentError` when captions could not end."""
    is_own = config.tokenizer == "own"
    name, option = (config.weights, "weights") if is_own else (str(config.tokenizer), "tokenizer")
    tokenizer = _fetch(AutoTokenizer.from_pretrained, name, option)
    if not tokenizer.is_fast:
        raise ComponentError(f"{name} has no fast tokenizer (tokenizer.json).", option=option, fix="Convert it first.")
    if tokenizer.eos_token_id is None:
        raise ComponentError(
            f"the tokenizer of {name} has no EOS token, so no caption could end.",
            option=option,
            fix="Set eos_token in its tokenizer_config.json, or name another tokenizer.",
        )
    return tokenizer


def kept_tokenizer(assets: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that `prepare` kept in `assets`."""
    return _fetch(PreTrainedTokenizerFast.from_pretrained, str(assets.resolve()), None)


def load_architecture(config: LanguageModelConfig, tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    """The transformers config: the weights' own, or the one the options describe. No weight is read.

    Raises `ComponentError` when the weights are of another architecture, or know fewer tokens than the tokenizer.
    """
    if config.weights == "random":
        return _described(config.random_architecture(), tokenizer)
    found = _fetch(AutoConfig.from_pretrained, config.weights, "weights")
    if config.model_type() not in (None, found.model_type):
        raise BadCheckpoint(
            f'{config.weights} is a "{found.model_type}" and not a "{config.model_type()}" model.',
            option="weights",
            fix='Use decoder "causal-lm" for it.',
        )
    if len(tokenizer) > found.get_text_config().vocab_size:
        raise ComponentError(
            f"the tokenizer has {len(tokenizer)} tokens, but the weights know {found.get_text_config().vocab_size}.",
            option="tokenizer",
            fix='Use "own", or the tokenizer that the weights were trained with.',
        )
    return found


def _described(fields: dict[str, object], tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    # pad_token_id: where it is set, that token's embedding stays zero. Nothing is ever padded with it here.
    ids = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    try:
        return AutoConfig.for_model(**{**fields, **ids, "vocab_size": len(tokenizer)})
    except Exception as err:  # an unknown model_type, or values that the architecture's own config refuses
        message = str(err).partition(". ")[0]
        raise ComponentError(
            f"transformers knows no such architecture: {message}", option="architecture", fix="Correct the fields."
        ) from err


def build_model(config: LanguageModelConfig, assets: Path, *, is_restored: bool = False) -> PreTrainedModel:
    """The language model in float32, with the architecture that `prepare` kept in `assets`.

    `is_restored`: a checkpoint will supply what can be trained, so nothing is read where that is the whole model.

    Raises `MissingWeights` or `BadCheckpoint` when the weights are not here, damaged, or of another architecture.
    """
    if config.weights == "random" or (is_restored and config.lora is None):
        return _build_random(_fetch(AutoConfig.from_pretrained, str(assets.resolve()), None))
    model, report = _fetch(
        AutoModelForCausalLM.from_pretrained,
        config.weights,
        "weights",
        dtype=torch.float32,
        output_loading_info=True,
        weights_only=True,
    )
    if missing := sorted(report["missing_keys"]):  # transformers would fill them with random numbers
        raise BadCheckpoint(
            f"{config.weights} lacks {len(missing)} weights of a {type(model).__name__}: {', '.join(missing[:3])}"
            + (", ..." if len(missing) > 3 else "."),
            option="weights",
            fix="Name a checkpoint of this architecture that holds every weight.",
        )
    return model


def _build_random(architecture: PretrainedConfig) -> PreTrainedModel:
    if type(architecture) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ComponentError(
            f'"{architecture.model_type}" is no causal language model in transformers.',
            option="architecture",
            fix="Name a model_type that has a ForCausalLM class.",
        )
    try:
        with quiet():
            return AutoModelForCausalLM.from_config(architecture, dtype=torch.float32, trust_remote_code=False)
    except Exception as err:  # each architecture refuses sizes in its own way
        raise ComponentError(
            f'no "{architecture.model_type}" model of this architecture can be built: {first_line(err)}',
            option="architecture",
            fix="Correct its sizes; the documentation of transformers says which must fit.",
        ) from err


def add_adapters(model: PreTrainedModel, lora: LoraOptions) -> None:
    """Puts LoRA adapters into `model` in place; they alone are trainable after it.

    Raises `MissingLibrary` without peft, and `ComponentError` when the targets do not exist.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as err:
        raise MissingLibrary(
            "LoRA adapters need the library peft.", option="lora", fix='pip install "capfw[lora]"'
        ) from err
    options = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else None,
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),  # GPT-2 stores its layers transposed
    )
    try:
        inject_adapter_in_model(options, model)
    except ValueError as err:
        linear = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if hasattr(m, "weight")})
        raise ComponentError(
            f"peft cannot place the adapters: {str(err).partition('. ')[0]}.",
            option="lora",
            fix=f"Set targets to names of layers of this model: {', '.join(linear)}.",
        ) from err


def _fetch(load: Callable[..., LoadedT], name: str, option: str | None, **settings: object) -> LoadedT:
    """`load(name, **settings)`, quietly, with errors that state a fix. `option`: None for the run's own assets."""
    if is_local_path(name) and not Path(name).is_dir():
        raise MissingWeights(f"{name} is not a folder.", option=option, fix="Name a folder saved by save_pretrained.")
    try:
        return load_pretrained(load, name, option=option, **settings)
    except ComponentError:
        raise
    except OSError as err:
        # transformers raises OSError for whatever is not there, in the folder or on the hub.
        raise MissingWeights(
            f'"{name}" lacks a file, or cannot be fetched: {first_line(err)}',
            option=option,
            fix="Put config.json, model.safetensors and the tokenizer's files into a folder, and name it here as "
            f'"./folder"; or fetch "{name}" where there is a network.'
            if not is_local_path(name)
            else "It must hold config.json, model.safetensors and the tokenizer's files.",
        ) from err
    except Exception as err:  # damaged files make their readers raise almost anything
        raise BadCheckpoint(
            f"{name} cannot be read: {first_line(err)}",
            option=option,
            fix="Its files are damaged, or of another architecture: fetch them again, or name others.",
        ) from err
