"""The DINOv3 backbone: timm's network with the numbers of Meta's file, bias masks and rotary periods included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import timm
import torch
from timm.models.eva import Eva
from torch import Tensor

from ....core.protocols import (
    BadCheckpoint,
    ComponentError,
    MissingWeights,
    nearest,
    read_weights,
    require_layout,
)
from . import BACKBONE_FILE, HOW_TO_GET, DinoV3Config

_OFFICIAL_MODEL = "vit_large_patch16_dinov3"
# timm's names and Meta's, for the parts that are called differently
_RENAMED = (
    ("reg_token", "storage_tokens"),
    ("gamma_1", "ls1.gamma"),
    ("gamma_2", "ls2.gamma"),
    ("mlp.fc1_g", "mlp.w1"),
    ("mlp.fc1_x", "mlp.w2"),
    ("attn.q_bias", "attn.qkv.bias"),
    ("attn.v_bias", "attn.qkv.bias"),
)


def hub_folder() -> Path:
    """Where torch.hub, and with it Meta's own loader, keeps weights."""
    return Path(torch.hub.get_dir(), "checkpoints")


def build_backbone(config: DinoV3Config) -> tuple[Eva, Path | None]:
    """The backbone, and the file it was read from, if it was."""
    _check_model(config)
    if config.weights == "random":
        return _create(config, **_qkv_bias(config)), None
    if config.weights == "published" and config.model != _OFFICIAL_MODEL:
        return _create_published(config), None
    file = hub_folder() / BACKBONE_FILE if config.weights == "published" else Path(config.weights)
    if not file.is_file():
        raise MissingWeights(f"there is no file {file}.", option="weights", fix=HOW_TO_GET)
    state = read_weights(file)
    # On the meta device nothing is initialised in vain: the file's tensors become the parameters.
    with torch.device("meta"):
        backbone = _create(config, **_qkv_bias(config))
    load_official(backbone, state, source=file)
    return backbone, file


def official_layout(backbone: Eva) -> dict[str, tuple[int, ...]]:
    """Names and shapes of Meta's file for this backbone."""
    width = backbone.embed_dim
    layout = {"mask_token": (1, width), "rope_embed.periods": tuple(backbone.rope.periods.shape)}
    own = backbone.state_dict()
    for name, official in _official_names(own).items():
        if official.endswith("qkv.bias"):
            layout[official] = layout[f"{official}_mask"] = (3 * width,)
        else:
            layout[official] = tuple(own[name].shape)
    return layout


def load_official(backbone: Eva, state: Mapping[str, Tensor], *, source: object) -> None:
    """Puts the content of Meta's file into timm's network, built on the meta device. Any float dtype is accepted.

    Raises `BadCheckpoint` unless every name and shape fits. What inference never uses is not kept: the mask token, and
    the norm of local crops in the SAT-493M and 7B files.
    """
    state = {name: value for name, value in state.items() if not name.startswith("local_cls_norm.")}
    require_layout(state, official_layout(backbone), source=source)
    own: dict[str, Tensor] = {}
    for name, official in _official_names(backbone.state_dict()).items():
        if official.endswith("qkv.bias"):
            query, value = _masked_bias(state, official, source)
            own[name] = query if name.endswith("q_bias") else value
        else:
            own[name] = state[official].float()
    backbone.load_state_dict(own, assign=True)
    for block in backbone.blocks:
        if block.attn.k_bias is not None:
            block.attn.k_bias = torch.zeros(backbone.embed_dim)
    # The published periods are rounded to bfloat16; timm would compute unrounded ones, which move tokens by up to 2e-2.
    backbone.rope.periods = state["rope_embed.periods"].float()


def _official_names(own: Iterable[str]) -> dict[str, str]:
    """Meta's name for each of timm's. The query and the value bias are both parts of "qkv.bias" there."""
    names = list(own)
    renamed = _RENAMED + ((("mlp.fc2", "mlp.w3"),) if any("mlp.fc1_g" in name for name in names) else ())
    official = {}
    for name in names:
        official[name] = name
        for timms, metas in renamed:
            official[name] = official[name].replace(timms, metas)
    return official


def _masked_bias(state: Mapping[str, Tensor], official: str, source: object) -> tuple[Tensor, Tensor]:
    """Query and value bias as the original applies them: bias times mask, both in the file."""
    query, key, value = (state[official].float() * state[f"{official}_mask"].float()).chunk(3)
    if key.count_nonzero():  # NaN counts
        raise BadCheckpoint(f"{source}: {official} has a key part, which timm cannot compute.", option="weights")
    return query, value


def _qkv_bias(config: DinoV3Config) -> dict[str, bool]:
    """Meta's models have a bias in all sizes but the 7B; timm's leave it out, because it was published as zeros."""
    return {} if "7b" in config.model else {"qkv_bias": True}


def _check_model(config: DinoV3Config) -> None:
    known = timm.list_models("vit_*dinov3*")
    if config.model.partition(".")[0] not in known:
        close = nearest(config.model, known)
        raise ComponentError(
            f'timm has no DINOv3 Vision Transformer "{config.model}".' + (f' Did you mean "{close}"?' if close else ""),
            option="model",
            fix=f"Known: {', '.join(known)}.",
        )


def _create(config: DinoV3Config, **changes: object) -> Eva:
    try:
        backbone: Eva = timm.create_model(config.model, num_classes=0, **(config.model_args | changes))
    except (TypeError, ValueError, AssertionError, RuntimeError) as err:
        raise ComponentError(f"timm cannot build {config.model} with these: {err}", option="model_args") from err
    return backbone


def _create_published(config: DinoV3Config) -> Eva:
    try:
        backbone: Eva = timm.create_model(config.model, num_classes=0, pretrained=True, **config.model_args)
    except (RuntimeError, TypeError) as err:
        raise ComponentError(f"timm cannot build {config.model} with these: {err}", option="model_args") from err
    except OSError as err:
        repository = timm.get_pretrained_cfg(config.model).hf_hub_id
        raise MissingWeights(
            f"the published weights of {config.model} are not on this machine and cannot be fetched.",
            option="weights",
            fix=f"`hf download {repository}`, where there is a network, fills the Hugging Face cache; copy that here.\n"
            'Or name Meta\'s own file of this size (gated) in "weights".',
        ) from err
    periods = backbone.rope.periods
    backbone.rope.periods = periods.bfloat16().to(periods.dtype)  # as in Meta's files; timm's copy left them out
    return backbone
