"""Converts a model saved by transformers' `CLIPModel` to open_clip's names; it gives the same embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPConfig

from ....core.protocols import BadCheckpoint, ComponentError

_BLOCK = re.compile(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_TOWERS = {"vision_model": "visual.", "text_model": ""}
_OUTER = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # sic
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_INNER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_QUERIES_KEYS_VALUES = {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v"}
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_FIX = "Save the whole model with CLIPModel.save_pretrained."


def convert_architecture(saved: Mapping[str, object]) -> dict[str, object]:
    """Converts the content of config.json to the arguments of `open_clip.CLIP`.

    Leaves "text_cfg" out when the activations of the two towers differ: open_clip cannot build both, but it can build
    the vision tower. Raises `ComponentError` for an unknown activation.
    """
    config = CLIPConfig.from_dict(dict(saved))  # fills in the defaults that older files leave out
    vision, text = config.vision_config, config.text_config
    if vision.hidden_act not in _ACTIVATIONS:
        raise ComponentError(
            f'open_clip has no activation "{vision.hidden_act}".',
            option="weights",
            fix='Use weights with the activation "quick_gelu" or "gelu".',
        )
    architecture: dict[str, object] = {
        "embed_dim": config.projection_dim,
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            **_inner_sizes(vision),
        },
        "quick_gelu": _ACTIVATIONS[vision.hidden_act],
    }
    if text.hidden_act == vision.hidden_act:
        architecture["text_cfg"] = {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            **_inner_sizes(text),
        }
    return architecture


def _inner_sizes(tower: Any) -> dict[str, object]:
    # open_clip truncates width * mlp_ratio to an integer; the added half guards against floating-point error.
    return {
        "mlp_ratio": (tower.intermediate_size + 0.5) / tower.hidden_size,
        "norm_kwargs": {"eps": tower.layer_norm_eps},
    }


def convert_state(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Renames the state dict of both towers to open_clip's names; keeps unknown names, which strict loading refuses.

    Raises `BadCheckpoint` when `state` is not that of a whole `CLIPModel`.
    """
    converted: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, value in state.items():
        block = _BLOCK.fullmatch(name)
        if block is not None:
            tower, number, module, kind = block.groups()
            prefix = f"{_TOWERS[tower]}transformer.resblocks.{number}"
            if module in _QUERIES_KEYS_VALUES:
                parts.setdefault((prefix, kind), {})[_QUERIES_KEYS_VALUES[module]] = value
            else:
                converted[f"{prefix}.{_INNER.get(module, module)}.{kind}"] = value
        elif name in _PROJECTIONS:
            converted[_PROJECTIONS[name]] = value.T
        elif not name.endswith(".position_ids"):  # a constant in older files
            converted[_OUTER.get(name, name.replace("vision_model.", "visual."))] = value
    for (prefix, kind), qkv in parts.items():
        if set(qkv) != set("qkv"):
            raise BadCheckpoint(
                f"{file} lacks the {kind} of a query, key or value projection of {prefix}.",
                option="weights",
                fix=_FIX,
            )
        converted[f"{prefix}.attn.in_proj_{kind}"] = torch.cat([qkv["q"], qkv["k"], qkv["v"]])
    if "visual_projection.weight" not in state:
        raise BadCheckpoint(
            f"{file} has no visual_projection.weight: it is not a whole CLIPModel.", option="weights", fix=_FIX
        )
    return converted
