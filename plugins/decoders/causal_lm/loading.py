"""Loads tokenizers and language models: from the hub, from a folder, or with random weights."""

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

from ....core.protocols import (
    BadCheckpoint,
    Call,
    ComponentError,
    HubWeights,
    MissingLibrary,
    MissingWeights,
    PublishedWeights,
    fetch_weights,
    is_local_path,
    listed,
)
from ...libraries.hub import CONFIG, MODEL, TOKENIZER, TOKENIZER_OTHERS
from ...libraries.transformers import NO_ADAPTER_LOOK_UP, first_line, load_pretrained, quiet
from . import LanguageModelConfig, LoraOptions

LoadedT = TypeVar("LoadedT")
_PREPARE: frozenset[Call] = frozenset({"prepare"})


def published_weights(config: LanguageModelConfig) -> list[PublishedWeights]:
    """Returns the published weights and the published tokenizer. A restored decoder reads weights only under adapters."""
    found: list[PublishedWeights] = []
    weights, tokenizer = config.weights, config.tokenizer
    if tokenizer not in ("own", "from-captions", None) and not is_local_path(tokenizer):
        files = (TOKENIZER,)
        found.append(HubWeights("tokenizer", tokenizer, tokenizer, files, TOKENIZER_OTHERS, read_by=_PREPARE))
    if weights == "random" or is_local_path(weights):
        return found
    files, others = ((CONFIG, TOKENIZER), TOKENIZER_OTHERS) if tokenizer == "own" else ((CONFIG,), ())
    calls: frozenset[Call] = frozenset({"build"} if config.lora is None else {"build", "restore"})
    prepared = HubWeights("weights", weights, weights, files, others, read_by=_PREPARE)
    built = HubWeights("weights", weights, weights, (CONFIG, MODEL), ("generation_config.json",), read_by=calls)
    return [*found, prepared, built]


def _fetch_for(call: Call, config: LanguageModelConfig) -> None:
    fetch_weights(each for each in published_weights(config) if call in each.read_by)


def load_tokenizer(config: LanguageModelConfig) -> PreTrainedTokenizerFast:
    """Loads the tokenizer of the weights, or the named one. Raises `ComponentError` when it has no EOS token."""
    is_own = config.tokenizer == "own"
    name, option = (config.weights, "weights") if is_own else (str(config.tokenizer), "tokenizer")
    _fetch_for("prepare", config)
    tokenizer = _load(AutoTokenizer.from_pretrained, name, option)
    if not tokenizer.is_fast:
        raise ComponentError(
            f"{name} has no fast tokenizer (tokenizer.json).",
            option=option,
            fix="Convert it to a fast tokenizer, or name another one.",
        )
    if tokenizer.eos_token_id is None:
        raise ComponentError(
            f"the tokenizer of {name} has no EOS token, so captions would never end.",
            option=option,
            fix="Set eos_token in its tokenizer_config.json, or name another tokenizer.",
        )
    return tokenizer


def kept_tokenizer(assets: Path) -> PreTrainedTokenizerFast:
    """Loads the tokenizer that `prepare` saved in `assets`."""
    return _load(PreTrainedTokenizerFast.from_pretrained, str(assets.resolve()), None)


def load_architecture(config: LanguageModelConfig, tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    """Returns the transformers config, of the weights or of the options, without reading any weight.

    Raises `ComponentError` when the weights have another architecture, or fewer tokens than the tokenizer.
    """
    if config.weights == "random":
        return _described(config.random_architecture(), tokenizer)
    _fetch_for("prepare", config)
    found = _load(AutoConfig.from_pretrained, config.weights, "weights")
    if config.model_type() not in (None, found.model_type):
        raise BadCheckpoint(
            f'{config.weights} is a "{found.model_type}" model, not a "{config.model_type()}" model.',
            option="weights",
            fix='Use decoder "causal-lm".',
        )
    if len(tokenizer) > found.get_text_config().vocab_size:
        raise ComponentError(
            f"the tokenizer has {len(tokenizer)} tokens, but the weights have {found.get_text_config().vocab_size}.",
            option="tokenizer",
            fix='Use "own", or the tokenizer that the weights were trained with.',
        )
    return found


def _described(fields: dict[str, object], tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    # A pad_token_id would keep that token's embedding at zero, and capfw never pads with it.
    ids = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    try:
        return AutoConfig.for_model(**{**fields, **ids, "vocab_size": len(tokenizer)})
    except Exception as err:  # an unknown model_type, or values that the architecture's config class refuses
        message = str(err).partition(". ")[0]
        raise ComponentError(
            f"transformers cannot read this architecture: {message}", option="architecture", fix="Correct the fields."
        ) from err


def build_model(config: LanguageModelConfig, assets: Path, *, is_restored: bool = False) -> PreTrainedModel:
    """Builds the language model in float32, with the architecture that `prepare` saved in `assets`.

    With `is_restored` a checkpoint supplies the trainable weights later; without adapters these are all weights, so none
    is read here.

    Raises `MissingWeights` when the weights are not on this machine, `BadCheckpoint` when they are damaged or of another
    architecture.
    """
    if config.weights == "random" or (is_restored and config.lora is None):
        return _build_random(_load(AutoConfig.from_pretrained, str(assets.resolve()), None))
    _fetch_for("restore" if is_restored else "build", config)
    model, report = _load(
        AutoModelForCausalLM.from_pretrained,
        config.weights,
        "weights",
        dtype=torch.float32,
        output_loading_info=True,
        weights_only=True,
        **NO_ADAPTER_LOOK_UP,
    )
    if missing := sorted(report["missing_keys"]):  # transformers would fill them with random numbers
        raise BadCheckpoint(
            f"{config.weights} lacks {len(missing)} weights of a {type(model).__name__}: {listed(missing, 3)}.",
            option="weights",
            fix="Name a checkpoint of this architecture that holds every weight.",
        )
    return model


def _build_random(architecture: PretrainedConfig) -> PreTrainedModel:
    if type(architecture) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ComponentError(
            f'transformers has no causal language model "{architecture.model_type}".',
            option="architecture",
            fix="Set model_type to an architecture that has a ForCausalLM class.",
        )
    try:
        with quiet():
            return AutoModelForCausalLM.from_config(architecture, dtype=torch.float32, trust_remote_code=False)
    except Exception as err:  # each architecture refuses sizes with its own exception
        raise ComponentError(
            f'no "{architecture.model_type}" model of this architecture can be built: {first_line(err)}',
            option="architecture",
            fix="Correct its sizes; the documentation of transformers lists which must match.",
        ) from err


def add_adapters(model: PreTrainedModel, lora: LoraOptions) -> None:
    """Adds LoRA adapters to `model` in place; afterwards only they are trainable.

    Raises `MissingLibrary` without peft, `ComponentError` when the targets do not exist.
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


def _load(load: Callable[..., LoadedT], name: str, option: str | None, **settings: object) -> LoadedT:
    """Returns `load(name, **settings)` from a folder or the cache, without a look-up; turns its errors into ours.

    `option` is None for the run's own assets.
    """
    if is_local_path(name) and not Path(name).is_dir():
        raise MissingWeights(f"{name} is not a folder.", option=option, fix="Name a folder saved by save_pretrained.")
    try:
        return load_pretrained(load, name, option=option, **settings)
    except ComponentError:
        raise
    except OSError as err:
        # transformers raises OSError for every missing file, in the folder or on the hub.
        files = "config.json, model.safetensors and the tokenizer's files"
        raise MissingWeights(
            f'"{name}" lacks a file: {first_line(err)}',
            option=option,
            fix=f"Put {files} into the folder." if is_local_path(name) else f"Download all of it: hf download {name}",
        ) from err
    except Exception as err:  # readers of damaged files raise almost anything
        raise BadCheckpoint(
            f"{name} cannot be read: {first_line(err)}",
            option=option,
            fix="Its files are damaged or of another architecture: download them again, or name others.",
        ) from err
