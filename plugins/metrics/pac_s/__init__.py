"""PAC-S and RefPAC-S: CLIPScore's formulas in a CLIP model that was trained further for the evaluation of captions."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ....core.protocols import Component, Weights, hookimpl
from ...libraries.clip_architectures import TwoTowers
from ...libraries.clip_options import TINY_TOWERS, ClipOptions

SOURCE = (
    'Sarto et al., 2023, "Positive-Augmented Contrastive Learning for Image and Video Captioning Evaluation", '
    "arXiv 2303.12112"
)


class PacScoreConfig(ClipOptions):
    """Options of metric "pac-s"."""

    default_model: ClassVar[str] = "ViT-B-32-quickgelu"

    model: str | TwoTowers | None = Field(
        None,
        description="open_clip architecture, or a written-out one. Absent: that of a folder of weights, else "
        '"ViT-B-32-quickgelu", that of the authors\' `clip_ViT-B-32.pth`. Their `openClip_ViT-L-14.pth` is a "ViT-L-14".',
    )
    weights: Weights = Field(
        description="The authors' checkpoint, a local file whose entry `state_dict` has both towers; or weights as metric "
        'clip-score takes them; or "random".',
    )

    def score_names(self) -> tuple[str, ...]:
        """PAC-S: twice the cosine of caption and image, at least 0."""
        return ("PAC-S",)


class RefPacScoreConfig(PacScoreConfig):
    """Options of metric "ref-pac-s"."""

    def score_names(self) -> tuple[str, ...]:
        """RefPAC-S: harmonic mean of PAC-S and the cosine with the nearest reference."""
        return ("RefPAC-S",)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "pac-s" and "ref-pac-s"."""
    needs = "The authors' checkpoint, which you download."
    return [
        Component(
            name="pac-s",
            config=PacScoreConfig,
            target=f"{__name__}.model:PacScore",
            summary="PAC-S: similarity of caption and image in a CLIP trained for it, without references.",
            example=PacScoreConfig(model=TINY_TOWERS, weights="random"),
            source=SOURCE,
            needs=needs,
        ),
        Component(
            name="ref-pac-s",
            config=RefPacScoreConfig,
            target=f"{__name__}.model:RefPacScore",
            summary="RefPAC-S: harmonic mean of PAC-S and the similarity to the nearest reference.",
            example=RefPacScoreConfig(model=TINY_TOWERS, weights="random"),
            source=SOURCE,
            needs=needs,
        ),
    ]
