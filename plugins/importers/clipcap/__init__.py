"""Importers of the files of ClipCap and of gpt2-image-captioning, whose networks follow ClipCap's."""

from __future__ import annotations

from ....core.protocols import Component, ImporterConfig, hookimpl


class ClipCapConfig(ImporterConfig):
    """Options of both importers: none."""


@hookimpl
def register_importers() -> list[Component]:
    """Registers "clipcap" and "gpt2-image-captioning"."""
    return [
        Component(
            name="clipcap",
            config=ClipCapConfig,
            target=f"{__name__}.clipcap:ClipCapImporter",
            summary="CLIP_prefix_caption: checkpoints with an MLP or a Transformer, and features (.pkl).",
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
