"""What the shapes of a mapping network's entries say. Both projects name its layers alike, under roots of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from ....core.protocols import BadCheckpoint
from ...libraries.clipcap import LANGUAGE_MODEL

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class MappingNetwork:
    """The options its shapes say, D of the embeddings it reads, and which of the two networks it is."""

    options: Mapping[str, JsonValue]
    feature_dim: int
    is_mlp: bool


def mapping_network(shapes: Shapes, root: str, embed_dim: int | None) -> MappingNetwork:
    """The mapping network whose entries begin with `root`.

    The prefix length of an MLP is left out while E, `embed_dim`, is not known: its output is P * E wide.
    Raises `BadCheckpoint` when an entry is missing or of another shape.
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
            f"the mapping network in it lacks an entry, or has one of another shape: {err}. "
            f"It has {', '.join(sorted(own)[:5])}.",
            fix="The MLP and the Transformer of ClipCap and gpt2-image-captioning are known.",
        ) from err


def decoder_section(**options: JsonValue) -> dict[str, JsonValue]:
    """GPT-2 as it was published."""
    return {"name": "gpt2", "weights": "gpt2", **options}


def train_section(shapes: Shapes, prompt: str | None = None) -> dict[str, JsonValue]:
    """The parts that were trained: GPT-2 where the checkpoint holds it, and else no more of it than the task prompt.

    `prompt` is the name of that entry in the checkpoints of the project.
    """
    decoder: JsonValue = None
    if any(name.startswith(LANGUAGE_MODEL) for name in shapes):
        decoder = {}
    elif prompt in shapes:
        decoder = {"only": ["task_prompt"]}
    return {"tune": {"mapper": {}, "decoder": decoder}}


METRICS: list[JsonValue] = [{"name": "bleu"}, {"name": "rouge-l"}, {"name": "cider"}]
