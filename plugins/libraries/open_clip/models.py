"""Builds CLIP models, or their vision towers alone, with open_clip and the weights of a `ClipSource`."""

from __future__ import annotations

from collections.abc import Callable

import open_clip
from torch import nn

from ....core.protocols import BadCheckpoint, ComponentError, load_exactly
from ..memory_format import in_fastest_layout
from .source import ClipSource

_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}
_VISION = "visual."


def build_vision_tower(source: ClipSource) -> nn.Module:
    """Builds the vision tower in float32, without the text tower.

    Raises `ComponentError` for an architecture that open_clip cannot build, `BadCheckpoint` when the weights do not fit.
    """
    tower: nn.Module = _build(
        open_clip.CLIP,
        embed_dim=source.architecture["embed_dim"],
        vision_cfg=_vision(source),
        text_cfg=_NO_TEXT,
        quick_gelu=source.architecture.get("quick_gelu", False),
    ).visual
    if source.state is not None:
        own = {name.removeprefix(_VISION): v for name, v in source.state.items() if name.startswith(_VISION)}
        if not own:
            raise BadCheckpoint(
                f'{source.origin} holds no CLIP vision tower: no name starts with "{_VISION}".',
                option="weights",
                fix=f"Its first names: {', '.join(list(source.state)[:3])}.",
            )
        load_exactly(tower, own, source=source.origin)
    return in_fastest_layout(tower)


def build_both_towers(source: ClipSource) -> nn.Module:
    """Builds a model with `encode_image`, `encode_text`, `visual` and `context_length`, in float32.

    Raises `ComponentError` for an architecture that open_clip cannot build, `BadCheckpoint` when the weights do not fit.
    """
    fields = {**source.architecture, "vision_cfg": _vision(source)}
    if not fields.get("text_cfg"):
        raise ComponentError("this architecture has no text tower.", option="model", fix='Add "text_cfg".')
    kind: Callable[..., nn.Module] = open_clip.CLIP
    if fields.pop("custom_text", False):
        kind = open_clip.CoCa if "multimodal_cfg" in fields else open_clip.CustomTextCLIP
    model = _build(kind, **fields)
    if source.state is not None:
        load_exactly(model, source.state, source=source.origin)
    return model


def _vision(source: ClipSource) -> dict[str, object]:
    vision = source.architecture["vision_cfg"]
    assert isinstance(vision, dict)
    # Read by timm's towers only: keeps them from downloading weights of their own.
    return {**vision, "timm_model_pretrained": False}


def _build(kind: Callable[..., nn.Module], **fields: object) -> nn.Module:
    try:
        return kind(**fields)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as err:
        raise ComponentError(
            f"open_clip cannot build this architecture: {err}",
            option="model",
            fix="Correct its fields; open_clip's documentation lists them and the sizes that must match.",
        ) from err
