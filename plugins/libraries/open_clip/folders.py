"""Reads folders of whole CLIP models: in open_clip's format, or saved by transformers' `CLIPModel`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoImageProcessor

from ....core.protocols import BadCheckpoint, ComponentError, read_weights
from ..transformers import first_line, load_pretrained
from .clip_model import convert_architecture, convert_state
from .files import read_clip_file
from .source import ClipSource, only_preprocessing

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

_OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FIX = "Save the model again, or correct the file."


def read_clip_folder(folder: Path) -> ClipSource:
    """Reads the model in `folder`.

    Raises `BadCheckpoint` when it is damaged, `ComponentError` when it is in neither format.
    """
    if (folder / "open_clip_config.json").is_file():
        return _from_open_clip(folder)
    if (folder / "config.json").is_file():
        return _from_transformers(folder)
    raise ComponentError(
        f"{folder} has neither open_clip_config.json nor config.json.",
        option="weights",
        fix="Name a folder that transformers' CLIPModel or open_clip saved.",
    )


def _from_open_clip(folder: Path) -> ClipSource:
    saved = _read_json(folder / "open_clip_config.json")
    architecture = saved.get("model_cfg", saved)
    if not isinstance(architecture, dict) or not {"embed_dim", "vision_cfg"} <= architecture.keys():
        raise BadCheckpoint(
            f"{folder / 'open_clip_config.json'} lacks embed_dim or vision_cfg.", option="weights", fix=_FIX
        )
    file = _weights_file(folder, _OPEN_CLIP_WEIGHTS)
    preprocessing = only_preprocessing(saved.get("preprocess_cfg", {}))
    return ClipSource(architecture, "open_clip", read_clip_file(file)[0], str(file), preprocessing)


def _from_transformers(folder: Path) -> ClipSource:
    saved = _read_json(folder / "config.json")
    if saved.get("model_type") != "clip":
        raise BadCheckpoint(
            f'{folder / "config.json"} describes a "{saved.get("model_type")}" model, not "clip".',
            option="weights",
            fix='Use encoder "vit" for other vision models of transformers.',
        )
    file = _weights_file(folder, _TRANSFORMERS_WEIGHTS)
    state, processor = convert_state(read_weights(file), file), _processor(folder)
    reason = f"{folder} has no preprocessor_config.json, so OpenAI's preprocessing is assumed."
    unsettled = {} if processor else dict.fromkeys(("mean", "std", "resize_mode"), reason)
    return ClipSource(
        convert_architecture(saved), "CLIPModel", state, str(file), processor=processor, unsettled=unsettled
    )


def _processor(folder: Path) -> BaseImageProcessor | None:
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        return None
    try:
        return load_pretrained(AutoImageProcessor.from_pretrained, str(folder), option="weights", backend="torchvision")
    except BadCheckpoint:
        raise
    except Exception as err:  # transformers raises almost anything on damaged files
        raise BadCheckpoint(
            f"the image processor in {folder} cannot be loaded: {first_line(err)}",
            option="weights",
            fix="Save it again with save_pretrained, or correct preprocessor_config.json.",
        ) from err


def _weights_file(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ComponentError(f"{folder} has none of {', '.join(names)}.", option="weights", fix="Put one of them there.")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as err:
        raise BadCheckpoint(f"{file} is not JSON: {err}", option="weights", fix=_FIX) from err
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{file} does not hold a JSON object.", option="weights", fix=_FIX)
    return content
