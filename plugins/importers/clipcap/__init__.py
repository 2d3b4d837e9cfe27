"""Importers of ClipCap's files, and of those of gpt2-image-captioning, whose networks are built after ClipCap's."""

from __future__ import annotations

from ....core.protocols import Component, ImporterConfig, hookimpl


class ClipCapConfig(ImporterConfig):
    """The importers have no options."""


@hookimpl
def register_importers() -> list[Component]:
    """Registers "clipcap" and "gpt2-image-captioning"."""
    return [
        Component(
            name="clipcap",
            config=ClipCapConfig,
            target=f"{__name__}.clipcap:ClipCapImporter",
            summary="CLIP_prefix_caption: checkpoints with an MLP or its own Transformer, and features (.pkl).",
            example=ClipCapConfig(),
            source="ClipCap (Mokady et al., 2021, arXiv 2111.09734), and its code",
        ),
        Component(
            name="gpt2-image-captioning",
            config=ClipCapConfig,
            target=f"{__name__}.gpt2_image_captioning:Gpt2ImageCaptioningImporter",
            summary="gpt2-image-captioning: checkpoints with frozen or tuned GPT-2, and image embeddings (.pt).",
            example=ClipCapConfig(),
            source="thenoobychocobo/gpt2-image-captioning",
        ),
    ]
