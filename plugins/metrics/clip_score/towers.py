"""The CLIP model behind the scores: built by open_clip, its weights from a tag, a file, or nowhere (random)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from PIL.Image import Image
from torch import Tensor, nn

from ....core.protocols import (
    BadCheckpoint,
    ComponentError,
    MissingWeights,
    is_local_path,
    load_exactly,
    nearest,
    read_weights,
)
from . import TwoTowers

OPENAI_FACTS = ("input_resolution", "context_length", "vocab_size")  # buffers that only OpenAI's archives have
VOCABULARY_SIZE = 49408  # of CLIP's own tokenizer, which comes with open_clip


@dataclass(frozen=True)
class Towers:
    """A model with `encode_image`, `encode_text` and `context_length`, and how an image becomes its pixels (3, H, W).

    `architecture` and `preprocessing` say what they are, for the signature of the scores.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]
    preprocessing: object
    architecture: str


def build_towers(architecture: str | TwoTowers, weights: str) -> Towers:
    """The whole model, with weights of a tag, a file, or none ("random").

    Raises `ComponentError` for an architecture or tag that does not exist or has a tokenizer of its own,
    `MissingWeights` when a tag cannot be fetched, `BadCheckpoint` when a file does not fit.
    """
    _check_architecture(architecture)
    published, state = {}, None
    if is_local_path(weights):
        state = _read_state(Path(weights))
    elif weights != "random":
        published = _published(architecture, weights)
        state = _read_state(_fetch(weights, published))
    is_from_openai = state is not None and OPENAI_FACTS[0] in state
    model = _build(architecture, quick_gelu=is_from_openai or bool(published.get("quick_gelu")))
    if state is not None:
        kept = {name: value for name, value in state.items() if name not in OPENAI_FACTS}
        load_exactly(model, kept, source=weights)
    facts = {key: published[key] for key in ("mean", "std", "interpolation", "resize_mode") if published.get(key)}
    settings = open_clip.transform.PreprocessCfg(size=model.visual.image_size, **facts)
    name = architecture if isinstance(architecture, str) else "an architecture of its own"
    return Towers(model, open_clip.transform.image_transform_v2(settings, is_train=False), settings, name)


def _check_architecture(model: str | TwoTowers) -> None:
    if isinstance(model, TwoTowers):
        text: dict[str, object] = dict(model.text_cfg)
    elif model in open_clip.list_models():
        text = open_clip.get_model_config(model)["text_cfg"]
    else:
        close = nearest(model, open_clip.list_models())
        raise ComponentError(
            f'open_clip has no architecture "{model}".' + (f' Did you mean "{close}"?' if close else ""),
            option="model",
            fix="`python -c 'import open_clip; print(open_clip.list_models())'` lists them.",
        )
    own_tokenizer = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if own_tokenizer or text.get("vocab_size", VOCABULARY_SIZE) != VOCABULARY_SIZE:
        raise ComponentError(
            "this model does not read the vocabulary of CLIP's own tokenizer"
            + (f' (it needs "{own_tokenizer}").' if own_tokenizer else f" ({VOCABULARY_SIZE} tokens)."),
            option="model",
            fix='CLIPScore was defined with "ViT-B-32"; any open_clip model with CLIP\'s tokenizer works.',
        )


def _build(model: str | TwoTowers, *, quick_gelu: bool) -> nn.Module:
    try:
        if isinstance(model, TwoTowers):
            architecture = model.model_dump()
            return open_clip.CLIP(**architecture | {"quick_gelu": quick_gelu or model.quick_gelu})
        return open_clip.create_model(model, force_quick_gelu=quick_gelu)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as err:
        raise ComponentError(f"open_clip cannot build this architecture: {err}", option="model") from err


def _published(model: str | TwoTowers, tag: str) -> dict[str, object]:
    known = open_clip.list_pretrained_tags_by_model(model) if isinstance(model, str) else []
    published: dict[str, object] = open_clip.get_pretrained_cfg(model, tag) if known else {}
    if not published:
        close = nearest(tag, known)
        raise ComponentError(
            f'no weights "{tag}" are published for this architecture.' + (f' Did you mean "{close}"?' if close else ""),
            option="weights",
            fix=f'Published: {", ".join(known) or "none"}. Or name a local file ("./clip.safetensors"), or "random".',
        )
    return published


def _fetch(tag: str, published: dict[str, object]) -> Path:
    try:
        return Path(open_clip.download_pretrained(published))
    except (OSError, RuntimeError) as err:
        origin = str(published.get("hf_hub") or published.get("url")).rstrip("/")
        raise MissingWeights(
            f'the weights "{tag}" are not on this machine and cannot be fetched ({type(err).__name__}).',
            option="weights",
            fix=f'Needed: {origin}. Put the file anywhere and name it: "weights": "./clip.safetensors".',
        ) from err


def _read_state(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors" and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            is_torchscript = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if is_torchscript:  # OpenAI's own archive; its reader runs no Python
            try:
                return torch.jit.load(file, map_location="cpu").state_dict()
            except (RuntimeError, ValueError) as err:
                raise BadCheckpoint(f"{file} cannot be read as TorchScript: {err}", option="weights") from err
    return read_weights(file)
