"""Finds a CLIP model: a published tag, a file, a folder, or random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import open_clip
from open_clip.transform import PreprocessCfg

from ....core.protocols import (
    ComponentError,
    HubWeights,
    PublishedWeights,
    WeightsFile,
    fetch_weights,
    is_local_path,
    suggestion,
)
from .files import read_clip_file
from .folders import read_clip_folder
from .source import PREPROCESSING, ClipSource, only_preprocessing


def find_clip(model: str | Mapping[str, object] | None, weights: str) -> ClipSource:
    """Resolves a model (an open_clip name, or an architecture) and weights (a tag, a file, a folder, or "random").

    Raises `ComponentError`, `MissingWeights` or `BadCheckpoint`.
    """
    path = Path(weights)
    if is_local_path(weights) and path.is_dir():
        if model is not None:
            raise ComponentError(
                f"the folder {path} states its own architecture.",
                option="model",
                fix='Remove "model" (or set it to null).',
            )
        return read_clip_folder(path)
    if model is None:
        raise ComponentError(
            f"{path} is a file, which does not state its architecture.",
            option="model",
            fix='Set "model" to the open_clip architecture of these weights.',
        )
    source = _named(model)
    if weights == "random":
        return source
    if is_local_path(weights):
        state, is_from_openai = read_clip_file(path)
        source = replace(source, state=state, origin=str(path))
        return _from_openai(source) if is_from_openai else source
    return _from_tag(model, weights, source)


def _named(model: str | Mapping[str, object]) -> ClipSource:
    """Returns an architecture without weights, and the preprocessing on which all weights published for it agree."""
    if not isinstance(model, str):
        return ClipSource(model, "a written-out architecture")
    known = open_clip.list_models()
    found = open_clip.get_model_config(model) if model in known else None
    if found is None:
        raise ComponentError(
            f'open_clip has no architecture "{model}". {suggestion(model, known)}'.rstrip(),
            option="model",
            fix="`python -c 'import open_clip; print(open_clip.list_models())'` lists them.",
        )
    agreed, unsettled = _published_preprocessing(model)
    return ClipSource(found, model, preprocessing=agreed, unsettled=unsettled)


def _published_preprocessing(model: str) -> tuple[dict[str, object], dict[str, str]]:
    """Returns the fields on which all weights published for `model` agree, and a reason for each of the others."""
    tags = open_clip.list_pretrained_tags_by_model(model)
    published = {tag: only_preprocessing(open_clip.get_pretrained_cfg(model, tag)) for tag in tags}
    agreed, unsettled = {}, {}
    for key, default in asdict(PreprocessCfg()).items():
        values = {tag: facts.get(key, default) for tag, facts in published.items()}
        if key not in PREPROCESSING or not values:
            continue
        if len(set(values.values())) == 1:
            agreed[key] = next(iter(values.values()))
        else:
            unsettled[key] = _disagreement(model, key, default, values)
    return agreed, unsettled


def _disagreement(model: str, key: str, default: object, values: Mapping[str, object]) -> str:
    others: dict[object, list[str]] = {}
    for tag, value in values.items():
        if value != default:
            others.setdefault(value, []).append(f'"{tag}"')
    differing = "; ".join(f"{value} for {', '.join(tags)}" for value, tags in others.items())
    return f"{key} = {default} is assumed, but weights published for {model} have {differing}."


def _from_openai(source: ClipSource) -> ClipSource:
    architecture = {**source.architecture, "quick_gelu": True}
    # Empty preprocessing keeps open_clip's defaults, which are OpenAI's.
    return replace(source, architecture=architecture, preprocessing={}, unsettled={})


def published_clip(model: str | Mapping[str, object] | None, weights: str) -> tuple[PublishedWeights, ...]:
    """Returns the published weights of a tag; none for random or local weights.

    Raises `ComponentError` for a tag that is not published for this architecture.
    """
    if weights == "random" or is_local_path(weights) or model is None:
        return ()
    if isinstance(model, str):
        _named(model)
    published = _published(model, weights)
    title = f'"{weights}" of {model}'
    repository, _, name = published.get("hf_hub", "").rpartition("/")
    if not repository:
        file = Path("~/.cache/clip", Path(published["url"]).name).expanduser()  # where open_clip keeps it
        return (WeightsFile("weights", title, file, url=published["url"]),)
    # A repository without a file name is whole: its open_clip_config.json holds the architecture.
    names = (name,) if name else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    others = () if name else ("open_clip_config.json",)
    local = f"hf download {repository} {name} --local-dir clip".replace("  ", " ")
    place = f'"./clip/{name}"' if name else '"./clip" in place of "model"'
    return (
        HubWeights(
            "weights", title, repository, (names,), others, advice=f'Or `{local}`, and set "weights" to {place}.'
        ),
    )


def _published(model: str | Mapping[str, object], tag: str) -> Mapping[str, str]:
    known = open_clip.list_pretrained_tags_by_model(model) if isinstance(model, str) else []
    published: Mapping[str, str] = open_clip.get_pretrained_cfg(model, tag) if known else {}
    if not published:
        raise ComponentError(
            f'no weights "{tag}" are published for this architecture. {suggestion(tag, known)}'.rstrip(),
            option="weights",
            fix=f'Published: {", ".join(known) or "none"}. Or name a local file ("./clip.safetensors"), or "random".',
        )
    return published


def _from_tag(model: str | Mapping[str, object], tag: str, source: ClipSource) -> ClipSource:
    published, (weights,) = _published(model, tag), published_clip(model, tag)
    fetch_weights([weights])
    paths = weights.paths()
    file = paths[0] if paths else Path(open_clip.download_pretrained(dict(published)))  # from its address
    state, is_from_openai = read_clip_file(file)
    # The tag overrides the architecture: "ViT-B-32" with the tag "openai" is a quick-GELU model.
    quick_gelu = published.get("quick_gelu", source.architecture.get("quick_gelu", False)) or is_from_openai
    return replace(
        source,
        architecture={**source.architecture, "quick_gelu": quick_gelu},
        state=state,
        origin=f"{file} ({tag})",
        preprocessing=only_preprocessing(published),
        unsettled={},
    )
