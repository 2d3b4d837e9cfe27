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

# The encoders of its three extraction notebooks, by the width of the embeddings; all embeddings are L2-normalised.
_ENCODERS: Mapping[int, dict[str, JsonValue]] = {
    512: {"name": "clip", "model": "ViT-B-32", "weights": "openai"},
    768: {"name": "vit", "weights": "google/vit-base-patch16-224", "pooling": "pooler", "normalize": True},
    2048: {"name": "dinov3"},
}


class Gpt2ImageCaptioningImporter:
    """Reads checkpoints and features of gpt2-image-captioning.

    Its checkpoints hold no weights of a frozen GPT-2, and all weights of a tuned one but the output layer.
    """

    def __init__(self, config: ClipCapConfig) -> None:
        """Reads nothing yet."""

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
                f"The file has a trained task prompt of {shapes[TASK_PROMPT][0]} tokens, without its text "
                "(prefix_task_prompt in config.yml)."
            )
        encoder = _ENCODERS.get(network.feature_dim)
        if encoder is None:
            needed["/encoder"] = (
                f"The file reads embeddings of width {network.feature_dim} and does not name their encoder."
            )
        else:
            sections["encoder"] = encoder
            notices.append(
                f'the file does not name its encoder. capfw assumes "{encoder["name"]}", as in the notebooks with '
                f"embeddings of width {network.feature_dim}. Change this with --set /encoder=..."
            )
        return ForeignCheckpoint(sections, network.feature_dim, needed, tuple(notices))

    def features(self, file: Path) -> ForeignFeatures | None:
        """Returns rows by file name, and by the image id at the end of COCO's file names."""
        if file.suffix not in (".pt", ".pth"):
            return None
        content = _load(file)
        if not isinstance(content, dict) or not {"filenames", "embeddings"} <= content.keys():
            return None
        names, embeddings = content["filenames"], content["embeddings"]
        is_table = isinstance(embeddings, torch.Tensor) and embeddings.ndim == 2
        if not is_table or not isinstance(names, list | tuple) or len(embeddings) != len(names):
            raise BadCheckpoint(
                f"{file} does not hold one embedding per file name.",
                fix='The file needs "filenames", a list of n names, and "embeddings", a tensor (n, D).',
            )
        return ForeignFeatures(embeddings, tuple(map(str, names)), tuple(_image_id(str(name)) for name in names))


def _load(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as err:
        raise BadCheckpoint(
            f"{file} cannot be read: {unreadable_reason(err)}",
            fix="Save it again with tensors and plain values only: capfw never runs code from a file.",
        ) from err


def _image_id(name: str) -> str:
    """Returns the number after the last underscore, 42 for COCO_val2014_000000000042.jpg; else the name."""
    stem = Path(name).name.rpartition("_")[2].partition(".")[0]
    return str(int(stem)) if re.fullmatch(r"[0-9]+", stem) else name
