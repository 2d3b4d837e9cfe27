"""Where a CLIP vision tower comes from: a published tag, a file, a folder, or nowhere (random)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from ....core.protocols import BadCheckpoint, ComponentError, MissingWeights, is_local_path, nearest, read_weights
from . import Architecture, ClipConfig
from .from_transformers import convert_architecture, convert_preprocessing, convert_state

_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class TowerSource:
    """What it takes to build a vision tower.

    `architecture`: embed_dim, vision_cfg and quick_gelu, as `open_clip.CLIP` takes them. `state`: the tower's own
    state dict, None for random weights; `origin` names it in messages. `preprocessing`: fields of `PreprocessCfg`.
    """

    architecture: dict[str, object]
    state: dict[str, Tensor] | None = None
    origin: str = "random"
    preprocessing: dict[str, object] = field(default_factory=dict)


def find_source(config: ClipConfig) -> TowerSource:
    """Resolves `model` and `weights`. Raises `ComponentError`, `MissingWeights` or `BadCheckpoint`."""
    path = Path(config.weights)
    if is_local_path(config.weights) and path.is_dir():
        if config.model is not None:
            raise ComponentError(
                f"the folder {path} says its own architecture.",
                option="model",
                fix='Remove "model" (or set it to null).',
            )
        return _from_folder(path)
    if config.model is None:
        raise ComponentError(
            f"{path} is a file, which does not say its architecture.", option="model", fix='Set "model".'
        )
    architecture = _named_architecture(config.model)
    preprocessing = _agreed_preprocessing(config.model)
    if config.weights == "random":
        return TowerSource(architecture, preprocessing=preprocessing)
    if is_local_path(config.weights):
        state, is_from_openai = _read_file(path)
        if is_from_openai:
            architecture["quick_gelu"] = True
        return TowerSource(architecture, _tower_state(state, path), str(path), preprocessing)
    return _from_tag(config.model, config.weights, architecture)


def _named_architecture(model: str | Architecture) -> dict[str, object]:
    if isinstance(model, Architecture):
        return model.model_dump()
    known = open_clip.list_models()
    found = open_clip.get_model_config(model) if model in known else None
    if found is None:
        close = nearest(model, known)
        raise ComponentError(
            f'open_clip has no architecture "{model}".' + (f' Did you mean "{close}"?' if close else ""),
            option="model",
            fix="`python -c 'import open_clip; print(open_clip.list_models())'` lists them.",
        )
    return {
        "embed_dim": found["embed_dim"],
        "vision_cfg": found["vision_cfg"] | {"timm_model_pretrained": False},
        "quick_gelu": found.get("quick_gelu", False),
    }


def _agreed_preprocessing(model: str | Architecture) -> dict[str, object]:
    """The preprocessing of all weights published for `model` where they agree; else open_clip's default (OpenAI's)."""
    tags = open_clip.list_pretrained_tags_by_model(model) if isinstance(model, str) else []
    published = [_only_preprocessing(open_clip.get_pretrained_cfg(model, tag)) for tag in tags]
    return published[0] if published and all(each == published[0] for each in published) else {}


def _only_preprocessing(facts: Mapping[str, object]) -> dict[str, object]:
    return {key: facts[key] for key in _PREPROCESSING if facts.get(key) is not None}


def _from_tag(model: str | Architecture, tag: str, architecture: dict[str, object]) -> TowerSource:
    known = open_clip.list_pretrained_tags_by_model(model) if isinstance(model, str) else []
    published = open_clip.get_pretrained_cfg(model, tag) if known else {}
    if not published:
        close = nearest(tag, known)
        raise ComponentError(
            f'no weights "{tag}" are published for this architecture.' + (f' Did you mean "{close}"?' if close else ""),
            option="weights",
            fix=f'Published: {", ".join(known) or "none"}. Or name a local file ("./clip.safetensors"), or "random".',
        )
    try:
        file = Path(open_clip.download_pretrained(published))
    except (OSError, RuntimeError) as err:
        raise MissingWeights(
            f'the weights "{tag}" of {model} are not on this machine and cannot be fetched ({type(err).__name__}).',
            option="weights",
            fix=_where_to_put(published),
        ) from err
    state, is_from_openai = _read_file(file)
    # The tag knows better than the architecture: "ViT-B-32" with the tag "openai" is a quick-GELU model.
    quick_gelu = published.get("quick_gelu", architecture["quick_gelu"]) or is_from_openai
    return TowerSource(
        architecture | {"quick_gelu": quick_gelu},
        _tower_state(state, file),
        f"{file} ({tag})",
        _only_preprocessing(published),
    )


def _where_to_put(published: Mapping[str, str]) -> str:
    repository, _, name = published.get("hf_hub", "").rpartition("/")
    if repository and not name:  # a whole repository, whose open_clip_config.json says what the weights need
        return (
            f"`hf download {repository}`, where there is a network, fills the Hugging Face cache; copy that here.\n"
            f'Or `hf download {repository} --local-dir clip`, and set "weights" to "./clip" in place of "model".'
        )
    if repository:
        return f'`hf download {repository} {name}`, and set "weights" to that file ("./{name}").'
    activation = ' Its model must be named with "-quickgelu".' if published.get("quick_gelu") else ""
    return f'Fetch {published["url"]} and set "weights" to the file ("./{Path(published["url"]).name}").{activation}'


def _read_file(file: Path) -> tuple[dict[str, Tensor], bool]:
    """The state dict of a whole CLIP model, and whether it is OpenAI's own archive (which is quick-GELU)."""
    if file.suffix != ".safetensors" and _is_torchscript(file):
        try:
            state = torch.jit.load(file, map_location="cpu").state_dict()  # its reader runs no Python
        except (RuntimeError, ValueError) as err:
            raise BadCheckpoint(f"{file} cannot be read as a TorchScript archive: {err}", option="weights") from err
    else:
        state = read_weights(file)
    return state, "input_resolution" in state  # a buffer that only OpenAI's models have


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _tower_state(state: dict[str, Tensor], origin: Path) -> dict[str, Tensor]:
    tower = {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
    if not tower:
        raise BadCheckpoint(
            f'{origin} holds no CLIP vision tower: no name starts with "visual.".',
            option="weights",
            fix=f"Its first names: {', '.join(list(state)[:3])}.",
        )
    return tower


def _from_folder(folder: Path) -> TowerSource:
    """A folder with open_clip_config.json (open_clip's form on the hub), or one saved by transformers' `CLIPModel`."""
    if (folder / "open_clip_config.json").is_file():
        saved = _read_json(folder / "open_clip_config.json")
        model_cfg = saved.get("model_cfg", saved)
        architecture = {
            "embed_dim": model_cfg["embed_dim"],
            "vision_cfg": model_cfg["vision_cfg"] | {"timm_model_pretrained": False},
            "quick_gelu": model_cfg.get("quick_gelu", False),
        }
        file = _weights_file(folder, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
        preprocessing = _only_preprocessing(saved.get("preprocess_cfg", {}))
        return TowerSource(architecture, _tower_state(_read_file(file)[0], file), str(file), preprocessing)
    if not (folder / "config.json").is_file():
        raise ComponentError(f"{folder} has neither open_clip_config.json nor config.json.", option="weights")
    saved = _read_json(folder / "config.json")
    if saved.get("model_type") != "clip":
        raise BadCheckpoint(
            f'{folder / "config.json"} describes a "{saved.get("model_type")}" model, not "clip".',
            option="weights",
            fix='Encoder "vit" reads the vision models of transformers.',
        )
    processor = folder / "preprocessor_config.json"
    file = _weights_file(folder, ("model.safetensors", "pytorch_model.bin"))
    return TowerSource(
        convert_architecture(saved),
        convert_state(read_weights(file), file),
        str(file),
        convert_preprocessing(_read_json(processor)) if processor.is_file() else {},
    )


def _weights_file(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ComponentError(f"{folder} holds none of {', '.join(names)}.", option="weights")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as err:
        raise BadCheckpoint(f"{file} is not JSON: {err}", option="weights") from err
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{file} holds no JSON object.", option="weights")
    return content
