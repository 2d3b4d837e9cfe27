"""Self-retrieval: whether a caption finds its own image among all images, in a CLIP model."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, hookimpl
from ...libraries.clip_options import TINY_TOWERS, ClipOptions

RANKS = (1, 5, 10)


class RetrievalConfig(ClipOptions):
    """Options of metric "retrieval"."""

    prompt: str = Field("", description="Text before every caption.")

    def score_names(self) -> tuple[str, ...]:
        """R@k: the share of captions whose own image is among the k nearest images."""
        return tuple(f"R@{rank}" for rank in RANKS)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "retrieval"."""
    return [
        Component(
            name="retrieval",
            config=RetrievalConfig,
            target=f"{__name__}.model:Retrieval",
            summary="Self-retrieval: whether a caption finds its own image among all images of the split.",
            example=RetrievalConfig(model=TINY_TOWERS, weights="random"),
            source='Dessi et al., 2023, "Cross-Domain Image Captioning with Discriminative Finetuning", arXiv '
            '2304.01662; CLIP: Radford et al., 2021, "Learning Transferable Visual Models From Natural Language '
            'Supervision", arXiv 2103.00020',
        )
    ]
