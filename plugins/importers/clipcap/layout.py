"""Reads options from the shapes in a checkpoint. Both projects use the same layer names, under different roots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from ....core.protocols import BadCheckpoint, listed
from ...libraries.clipcap import LANGUAGE_MODEL

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class MappingNetwork:
    """A mapping network: its options, the width D of its embeddings, and whether it is the MLP or the Transformer."""

    options: Mapping[str, JsonValue]
    feature_dim: int
    is_mlp: bool


def mapping_network(shapes: Shapes, root: str, embed_dim: int | None) -> MappingNetwork:
    """Returns the mapping network whose entries begin with `root`.

    Leaves out the prefix length P of an MLP while E, `embed_dim`, is unknown: the output has width P * E.
    Raises `BadCheckpoint` when an entry is missing or has another shape.
    """
    own = {name.removeprefix(root): shape for name, shape in shapes.items() if name.startswith(root)}
    try:
        if "prefix_const" not in own:
            options = {} if embed_dim is None else {"prefix_length": own["model.2.weight"][0] // embed_dim}
            return MappingNetwork(options, own["model.0.weight"][1], is_mlp=True)
        prefix_length, width = own["prefix_const"]
        image_width, feature_dim = own["linear.weight"]
        num_layers = len({name.split(".")[2] for name in own if name.startswith("transformer.layers.")})
        options = {
            "prefix_length": prefix_length,
            "num_image_tokens": image_width // width,
            "num_layers": num_layers,
        }
        return MappingNetwork(options, feature_dim, is_mlp=False)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as err:
        raise BadCheckpoint(
            f"its mapping network lacks an entry, or has one with another shape: {err}. It has {listed(sorted(own), 5)}.",
            fix="Use a checkpoint with the MLP or the Transformer of ClipCap or gpt2-image-captioning.",
        ) from err


def decoder_section(**options: JsonValue) -> dict[str, JsonValue]:
    """Returns the spec's decoder section: the published GPT-2, with `options`."""
    return {"name": "gpt2", "weights": "gpt2", **options}


def train_section(shapes: Shapes, prompt: str | None = None) -> dict[str, JsonValue]:
    """Returns the spec's train section: the mapper is tuned, and GPT-2 where the checkpoint holds it, else its task prompt.

    `prompt` is the name of the task prompt in the project's checkpoints; None: it has none.
    """
    decoder: JsonValue = None
    if any(name.startswith(LANGUAGE_MODEL) for name in shapes):
        decoder = {}
    elif prompt in shapes:
        decoder = {"only": ["task_prompt"]}
    return {"tune": {"mapper": {}, "decoder": decoder}}


METRICS: list[JsonValue] = [{"name": "bleu"}, {"name": "rouge-l"}, {"name": "cider"}]
