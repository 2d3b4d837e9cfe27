"""Names of the entries in checkpoints of ClipCap (CLIP_prefix_caption) and gpt2-image-captioning, and those in capfw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CLIPCAP = "clip_project."
"""Root of the names of ClipCap's mapping network."""
NOTEBOOKS = "mapping_network."
"""Root of the names of the mapping network of gpt2-image-captioning."""
LANGUAGE_MODEL = "gpt."
"""Root of the names of a tuned GPT-2, in both projects."""
TASK_PROMPT = "task_prefix_embeds"
"""Name of the trained task prompt of gpt2-image-captioning (prompt tokens, E)."""

MLP: Mapping[str, str] = {"model.": "layers."}
"""Roots of the MLP's names in both projects, and their roots in capfw's mapper."""
TRANSFORMER: Mapping[str, str] = {
    "linear.": "project.",
    "prefix_const": "prefix_queries",
    "transformer.layers.": "layers.",
}
"""Roots of the Transformer's names in both projects, and their roots in capfw's mappers."""


def renamed(names: Iterable[str], root: str, places: Mapping[str, str]) -> dict[str, str | None]:
    """Maps each of `names` that begins with `root` and a key of `places` to its name in capfw; leaves the others out."""
    found: dict[str, str | None] = {}
    for name in names:
        for theirs, ours in places.items():
            if name.startswith(root + theirs):
                found[name] = ours + name.removeprefix(root + theirs)
    return found
