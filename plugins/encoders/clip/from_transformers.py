"""A CLIP vision tower saved by transformers' `CLIPModel`, in open_clip's names. The same numbers come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....core.protocols import BadCheckpoint, ComponentError

_VISION = "vision_model."
_BLOCK = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+)")
_OUTER = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",  # sic
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
_INNER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # PIL's numbers


def convert_architecture(saved: Mapping[str, object]) -> dict[str, object]:
    """The content of config.json as `open_clip.CLIP` takes it. Raises `ComponentError` for an unknown activation."""
    from transformers import CLIPConfig  # fills in the defaults that older files leave out

    config = CLIPConfig.from_dict(dict(saved))
    vision = config.vision_config
    if vision.hidden_act not in _ACTIVATIONS:
        raise ComponentError(f'open_clip has no activation "{vision.hidden_act}".', option="weights")
    return {
        "embed_dim": config.projection_dim,
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
            "norm_kwargs": {"eps": vision.layer_norm_eps},
        },
        "quick_gelu": _ACTIVATIONS[vision.hidden_act],
    }


def convert_state(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The tower's own state dict out of a whole `CLIPModel`'s; unknown names are kept, for strict loading to refuse."""
    tower: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, value in state.items():
        block = _BLOCK.fullmatch(name)
        if block is None:
            if name.startswith(_VISION) and not name.endswith("position_ids"):  # a constant in older files
                own = name.removeprefix(_VISION)
                tower[_OUTER.get(own, own)] = value
            continue
        prefix, (module, kind) = f"transformer.resblocks.{block[1]}", block[2].rsplit(".", 1)
        if module in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            parts.setdefault((prefix, kind), {})[module[len("self_attn.")]] = value
        else:
            tower[f"{prefix}.{_INNER.get(module, module)}.{kind}"] = value
    for (prefix, kind), qkv in parts.items():
        if set(qkv) != set("qkv"):
            raise BadCheckpoint(f"{file} lacks a part of the attention of {prefix} ({kind}).", option="weights")
        tower[f"{prefix}.attn.in_proj_{kind}"] = torch.cat([qkv["q"], qkv["k"], qkv["v"]])
    if "visual_projection.weight" not in state:
        raise BadCheckpoint(f"{file} has no visual_projection.weight: it is not a whole CLIPModel.", option="weights")
    tower["proj"] = state["visual_projection.weight"].T
    return tower


def convert_preprocessing(saved: Mapping[str, Any]) -> dict[str, object]:
    """preprocessor_config.json as fields of open_clip's `PreprocessCfg`; the size is the tower's.

    Raises `ComponentError` for what open_clip's transform cannot do.
    """
    is_cropped = bool(saved.get("do_center_crop", True))
    sides = {_side(saved[key]) for key in ("size", "crop_size") if key in saved}
    if is_cropped and len(sides) > 1:
        raise ComponentError(f"open_clip cannot resize to one size and crop to another: {sides}.", option="weights")
    resample = saved.get("resample", 3)
    if resample not in _INTERPOLATIONS:
        raise ComponentError(f"open_clip cannot resize with PIL's filter {resample}.", option="weights")
    return {
        "mean": tuple(saved.get("image_mean", (0.48145466, 0.4578275, 0.40821073))),
        "std": tuple(saved.get("image_std", (0.26862954, 0.26130258, 0.27577711))),
        "interpolation": _INTERPOLATIONS[resample],
        "resize_mode": "shortest" if is_cropped else "squash",
    }


def _side(size: int | Mapping[str, int]) -> int:
    return size if isinstance(size, int) else next(iter(size.values()))
