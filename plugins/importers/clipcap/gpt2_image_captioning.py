"""The importer of gpt2-image-captioning, whose notebooks capfw replaces."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from ....core.protocols import BadCheckpoint, ForeignCheckpoint, ForeignFeatures, unreadable_reason
from ...libraries.clipcap import NOTEBOOKS, TASK_PROMPT
from . import ClipCapConfig
from .layout import METRICS, Shapes, decoder_section, mapping_network, train_section

# What its three extraction notebooks used, by the width of the embeddings; all of them divided by their length.
_ENCODERS: Mapping[int, dict[str, JsonValue]] = {
    512: {"name": "clip", "model": "ViT-B-32", "weights": "openai"},
    768: {"name": "vit", "weights": "google/vit-base-patch16-224", "pooling": "pooler", "normalize": True},
    2048: {"name": "dinov3"},
}


class Gpt2ImageCaptioningImporter:
    """Reads what gpt2-image-captioning writes: of a frozen GPT-2 nothing, of a tuned one all but its output layer."""

    def __init__(self, config: ClipCapConfig) -> None:
        """Nothing is read yet."""

    def checkpoint(self, shapes: Shapes, embed_dim: int | None) -> ForeignCheckpoint | None:
        if not any(name.startswith(NOTEBOOKS) for name in shapes):
            return None
        network = mapping_network(shapes, NOTEBOOKS, embed_dim)
        sections: dict[str, JsonValue] = {
            "mapper": {"name": "mlp" if network.is_mlp else "transformer", **network.options},
            "decoder": decoder_section(),
            "train": train_section(shapes, TASK_PROMPT),
            "generate": {"method": "greedy", "max_tokens": 50},
            "metrics": METRICS,
        }
        needed, notices = {}, []
        if TASK_PROMPT in shapes:
            needed["/decoder/task_prompt"] = (
                f"It has a trained task prompt of {shapes[TASK_PROMPT][0]} tokens: write the text that it was trained with "
                "(prefix_task_prompt in config.yml)."
            )
        encoder = _ENCODERS.get(network.feature_dim)
        if encoder is None:
            needed["/encoder"] = f"It read embeddings of width {network.feature_dim}, from an encoder it does not name."
        else:
            sections["encoder"] = encoder
            notices.append(
                f"the encoder is not in the file: embeddings of width {network.feature_dim} are taken for those of "
                f'"{encoder["name"]}" as the notebooks set it up. Say otherwise with --set /encoder=...'
            )
        return ForeignCheckpoint(sections, network.feature_dim, needed, tuple(notices))

    def features(self, file: Path) -> ForeignFeatures | None:
        """Rows by file name, and by the id that COCO's file names end in."""
        if file.suffix not in (".pt", ".pth"):
            return None
        content = _load(file)
        if not isinstance(content, dict) or not {"filenames", "embeddings"} <= content.keys():
            return None
        names, embeddings = content["filenames"], content["embeddings"]
        is_table = isinstance(embeddings, torch.Tensor) and embeddings.ndim == 2
        if not is_table or not isinstance(names, list | tuple) or len(embeddings) != len(names):
            raise BadCheckpoint(
                f"{file} does not hold one embedding a file name.",
                fix='It needs "filenames", a list of n names, and "embeddings", a tensor (n, D).',
            )
        return ForeignFeatures(embeddings, tuple(map(str, names)), tuple(_image_id(str(name)) for name in names))


def _load(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as err:
        raise BadCheckpoint(
            f"{file} cannot be read: {unreadable_reason(err)}",
            fix="It is damaged, or holds more than tensors and plain values (code is never run): save it again.",
        ) from err


def _image_id(name: str) -> str:
    """The number between the last underscore and the first dot after it: COCO_val2014_000000000042.jpg is 42."""
    stem = Path(name).name.rpartition("_")[2].partition(".")[0]
    return str(int(stem)) if re.fullmatch(r"[0-9]+", stem) else name
