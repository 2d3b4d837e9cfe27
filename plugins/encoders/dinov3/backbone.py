"""The DINOv3 backbone: timm's network with the weights, bias masks and rotary periods of Meta's file."""

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
    PublishedWeights,
    WeightsFile,
    fetch_weights,
    read_weights,
    require_layout,
    suggestion,
)
from ...libraries.timm import from_file, published_timm, unbuildable
from . import BACKBONE_FILE, HOW_TO_GET, DinoV3Config

_OFFICIAL_MODEL = "vit_large_patch16_dinov3"
# timm's names and Meta's, where they differ
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
    """The folder where torch.hub, and so Meta's own loader, keeps weights."""
    return Path(torch.hub.get_dir(), "checkpoints")


def published_backbone(config: DinoV3Config) -> tuple[PublishedWeights, ...]:
    """Returns the published weights of the backbone; none for random weights or the user's own file."""
    _check_model(config)
    if config.weights != "published":
        return ()
    if config.model == _OFFICIAL_MODEL:
        file = hub_folder() / BACKBONE_FILE
        return (WeightsFile("weights", str(file), file, advice=HOW_TO_GET),)
    return (published_timm(config.model, advice='Or set "weights" to Meta\'s own (gated) file of this size.'),)


def build_backbone(config: DinoV3Config) -> Eva:
    """Builds the backbone with its weights."""
    _check_model(config)
    if config.weights == "random":
        return _create(config, **_qkv_bias(config))
    published = published_backbone(config)
    fetch_weights(published)
    if config.weights == "published" and config.model != _OFFICIAL_MODEL:
        return _create_published(config, published[0])
    file = hub_folder() / BACKBONE_FILE if config.weights == "published" else Path(config.weights)
    state = read_weights(file)
    # The meta device skips the initialisation: the file's tensors become the parameters.
    with torch.device("meta"):
        backbone = _create(config, **_qkv_bias(config))
    load_official(backbone, state, source=file)
    return backbone


def official_layout(backbone: Eva) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes in Meta's file for this backbone."""
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
    """Loads Meta's file, of any float dtype, into timm's network on the meta device.

    Drops the parts that inference never uses: the mask token, and the norm of local crops in the SAT-493M and 7B files.
    Raises `BadCheckpoint` unless every name and shape fits.
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
    # The published periods are rounded to bfloat16. timm computes unrounded ones, which change tokens by up to 2e-2.
    backbone.rope.periods = state["rope_embed.periods"].float()


def _official_names(own: Iterable[str]) -> dict[str, str]:
    """Maps timm's names to Meta's. Meta's "qkv.bias" holds both the query bias and the value bias."""
    names = list(own)
    renamed = _RENAMED + ((("mlp.fc2", "mlp.w3"),) if any("mlp.fc1_g" in name for name in names) else ())
    official = {}
    for name in names:
        official[name] = name
        for timms, metas in renamed:
            official[name] = official[name].replace(timms, metas)
    return official


def _masked_bias(state: Mapping[str, Tensor], official: str, source: object) -> tuple[Tensor, Tensor]:
    """Returns the query and value bias as Meta's code applies them: bias times mask, both from the file."""
    query, key, value = (state[official].float() * state[f"{official}_mask"].float()).chunk(3)
    if key.count_nonzero():  # NaN counts
        raise BadCheckpoint(
            f"{source}: the key part of {official} is not zero, which timm cannot compute.",
            option="weights",
            fix="Use Meta's file as downloaded.",
        )
    return query, value


def _qkv_bias(config: DinoV3Config) -> dict[str, bool]:
    """Adds the bias that Meta's models have in all sizes but the 7B; timm leaves it out: it was published as zeros."""
    return {} if "7b" in config.model else {"qkv_bias": True}


def _check_model(config: DinoV3Config) -> None:
    known = timm.list_models("vit_*dinov3*")
    if config.model.partition(".")[0] not in known:
        raise ComponentError(
            f'timm has no DINOv3 Vision Transformer "{config.model}". {suggestion(config.model, known)}'.rstrip(),
            option="model",
            fix=f"Use one of {', '.join(known)}.",
        )


def _create(config: DinoV3Config, **changes: object) -> Eva:
    try:
        backbone: Eva = timm.create_model(config.model, num_classes=0, **(config.model_args | changes))
    except (TypeError, ValueError, AssertionError, RuntimeError) as err:
        raise unbuildable(config.model, err) from err
    return backbone


def _create_published(config: DinoV3Config, weights: PublishedWeights) -> Eva:
    try:
        backbone: Eva = timm.create_model(config.model, num_classes=0, **from_file(weights), **config.model_args)
    except (RuntimeError, TypeError) as err:
        raise unbuildable(config.model, err) from err
    periods = backbone.rope.periods
    backbone.rope.periods = periods.bfloat16().to(periods.dtype)  # as in Meta's files; timm's copy has none
    return backbone
