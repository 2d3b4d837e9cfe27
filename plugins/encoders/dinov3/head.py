"""The dino.txt vision head: two Transformer blocks over the backbone's tokens, built from timm's parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from timm.layers import SwiGLU
from timm.models.eva import Eva
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ....core.protocols import (
    BadCheckpoint,
    PublishedWeights,
    WeightsFile,
    fetch_weights,
    is_local_path,
    read_weights,
    require_layout,
)
from . import HEAD_FILE, HOW_TO_GET, DinoV3Config
from .backbone import hub_folder

_PREFIX = "visual_model.head."
_RENAMED = (("mlp.fc1_g", "mlp.w1"), ("mlp.fc1_x", "mlp.w2"), ("mlp.fc2", "mlp.w3"))  # timm's names and Meta's


class DinoTextHead(nn.Module):
    """Transformer blocks and a norm over the backbone's tokens, without positions (Jose et al., 2024, section 3).

    The SwiGLU is 8/3 times as wide as a token, rounded up to a multiple of 64. Layer scale, no qkv bias.
    """

    def __init__(self, width: int, num_heads: int, num_blocks: int) -> None:
        super().__init__()
        block = partial(
            Block,
            width,
            num_heads,
            mlp_ratio=8 / 3,
            init_values=1e-5,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer=nn.SiLU,
            mlp_layer=partial(SwiGLU, align_to=64),
        )
        self.blocks = nn.Sequential(*(block() for _ in range(num_blocks)))
        self.ln_final = nn.LayerNorm(width, eps=1e-5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, width) float32 -> tokens of the same shape."""
        normed: Tensor = self.ln_final(self.blocks(tokens))
        return normed


def published_head(config: DinoV3Config) -> tuple[PublishedWeights, ...]:
    """Returns the published weights of the head; none for random weights or the user's own file."""
    if not config.uses_head or config.head_source != "published":
        return ()
    file = _find(config)
    return (WeightsFile("head_weights", str(file), file, advice=HOW_TO_GET),)


def build_head(config: DinoV3Config, backbone: Eva) -> DinoTextHead:
    """Builds the head for this backbone."""
    width, num_heads = backbone.embed_dim, backbone.blocks[0].attn.num_heads
    if config.head_source == "random":
        return DinoTextHead(width, num_heads, num_blocks=2)
    fetch_weights(published_head(config))
    file = _find(config)
    state = {
        name: value for name, value in read_weights(file, option="head_weights").items() if name.startswith(_PREFIX)
    }
    if not state:
        raise BadCheckpoint(
            f'{file} is no dino.txt head: it has no name that starts with "{_PREFIX}".',
            option="head_weights",
            fix=HOW_TO_GET,
        )
    num_blocks = len({name.split(".")[3] for name in state if name.startswith(f"{_PREFIX}blocks.")})
    with torch.device("meta"):
        head = DinoTextHead(width, num_heads, num_blocks)
    require_layout(state, official_layout(head), source=file, option="head_weights")
    head.load_state_dict({name: state[_official_name(name)].float() for name in head.state_dict()}, assign=True)
    return head


def official_layout(head: DinoTextHead) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the head in Meta's file."""
    return {_official_name(name): tuple(value.shape) for name, value in head.state_dict().items()}


def _official_name(name: str) -> str:
    for own, official in _RENAMED:
        name = name.replace(own, official)
    return _PREFIX + name


def _find(config: DinoV3Config) -> Path:
    """Returns the file of the head. A published head is beside the user's backbone, or in torch.hub's folder."""
    if config.head_source != "published":
        return Path(config.head_source)
    beside = [Path(config.weights).parent] if is_local_path(config.weights) else []
    places = [folder / HEAD_FILE for folder in (*beside, hub_folder())]
    return next((place for place in places if place.is_file()), places[0])
