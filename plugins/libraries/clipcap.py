"""Names in the checkpoints of ClipCap (CLIP_prefix_caption) and of gpt2-image-captioning, and their places here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CLIPCAP = "clip_project."
"""ClipCap's mapping network stands under this root."""
NOTEBOOKS = "mapping_network."
"""The mapping network of gpt2-image-captioning stands under this root."""
LANGUAGE_MODEL = "gpt."
"""GPT-2 stands under this root in both, where it was tuned."""
TASK_PROMPT = "task_prefix_embeds"
"""The trained task prompt of gpt2-image-captioning (prompt tokens, E)."""

MLP: Mapping[str, str] = {"model.": "layers."}
"""The MLP, root by root, and where a mapper of capfw has it."""
TRANSFORMER: Mapping[str, str] = {
    "linear.": "project.",
    "prefix_const": "prefix_queries",
    "transformer.layers.": "layers.",
}
"""Both projects' Transformers, root by root, and where the mappers of capfw have them."""


def renamed(names: Iterable[str], root: str, places: Mapping[str, str]) -> dict[str, str | None]:
    """Those of `names` under `root` that begin with a key of `places`, each with its name here."""
    found: dict[str, str | None] = {}
    for name in names:
        for theirs, ours in places.items():
            if name.startswith(root + theirs):
                found[name] = ours + name.removeprefix(root + theirs)
    return found
