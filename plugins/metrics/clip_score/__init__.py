"""CLIPScore and RefCLIPScore: the similarity of a caption to its image, and to the references, in a CLIP model."""

from __future__ import annotations

from ....core.protocols import Component, hookimpl
from ...libraries.clip_options import TINY_TOWERS, ClipOptions

SOURCE = 'Hessel et al., 2021, "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", arXiv 2104.08718'


class ClipScoreConfig(ClipOptions):
    """Options of metric "clip-score"."""

    def score_names(self) -> tuple[str, ...]:
        """CLIPScore: 2.5 times the cosine of caption and image, at least 0."""
        return ("CLIPScore",)


class RefClipScoreConfig(ClipScoreConfig):
    """Options of metric "ref-clip-score"."""

    def score_names(self) -> tuple[str, ...]:
        """RefCLIPScore: harmonic mean of CLIPScore and the cosine with the nearest reference."""
        return ("RefCLIPScore",)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "clip-score" and "ref-clip-score"."""
    return [
        Component(
            name="clip-score",
            config=ClipScoreConfig,
            target=f"{__name__}.model:ClipScore",
            summary="CLIPScore: similarity of caption and image, without references.",
            example=ClipScoreConfig(model=TINY_TOWERS, weights="random"),
            source=SOURCE,
        ),
        Component(
            name="ref-clip-score",
            config=RefClipScoreConfig,
            target=f"{__name__}.model:RefClipScore",
            summary="RefCLIPScore: harmonic mean of CLIPScore and the similarity to the nearest reference.",
            example=RefClipScoreConfig(model=TINY_TOWERS, weights="random"),
            source=SOURCE,
        ),
    ]
