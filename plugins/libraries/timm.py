"""The models that timm builds: their published weights, and the error of wrong arguments."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import timm
import torch

from ...core.protocols import ComponentError, HubWeights, PublishedWeights, WeightsFile, fetch_weights


def unbuildable(model: str, err: Exception) -> ComponentError:
    """Returns the error for arguments that `timm.create_model` refuses."""
    return ComponentError(
        f"timm cannot build {model} with these arguments: {err}",
        option="model_args",
        fix="Correct or remove the argument.",
    )


def published_timm(model: str, *, advice: str = "") -> PublishedWeights:
    """Returns the published weights of a timm model: on the hub, or for a few models at an address of their own."""
    published = timm.get_pretrained_cfg(model)
    title = f"{published.architecture}.{published.tag}" if published.tag else model
    if published.hf_hub_id:
        names = (
            (published.hf_hub_filename,) if published.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
        )
        return HubWeights("weights", title, published.hf_hub_id, (names,), advice=advice)
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(published.url).path).name)
    return WeightsFile("weights", title, file, url=published.url, advice=advice)


def from_file(weights: PublishedWeights) -> dict[str, object]:
    """Returns the arguments with which `timm.create_model` loads these weights from the cache, without a look-up.

    Raises `MissingWeights` when they are not on this machine and cannot be downloaded.
    """
    fetch_weights([weights])
    paths = weights.paths()
    if paths is None or not isinstance(weights, HubWeights):
        return {"pretrained": True}  # timm downloads from the address
    # Files on the hub are in timm's own format, also where the original needed a reader of its own ("custom_load").
    return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(paths[0]), "custom_load": False}}
