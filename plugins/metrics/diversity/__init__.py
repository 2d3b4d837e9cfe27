"""Diversity of captions: of the candidates of all images together, and of several captions of one image."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, InputFile, MetricConfig, hookimpl

OF_CANDIDATES = ("Distinct-1", "Distinct-2", "Vocabulary", "Length")
OF_SETS = ("Div-1", "Div-2", "mBLEU-4", "Self-CIDEr")
NOVEL = "Novel"


class DiversityConfig(MetricConfig):
    """Options of metric "diversity"."""

    document_frequencies: InputFile | None = Field(
        None,
        description="File written by `capfw score --write-document-frequencies`, for the word weights of Self-CIDEr. "
        "Absent: counted in the references of the scored images.",
    )

    def needs(self) -> tuple[str, ...]:
        """Several captions per image, and the training captions; without them, some scores are left out."""
        return ("several captions per image", "training captions")

    def score_names(self) -> tuple[str, ...]:
        """Scores of all candidates, of the captions of each image, and against the training captions."""
        return (*OF_CANDIDATES, NOVEL, *OF_SETS)

    def optional_score_names(self) -> tuple[str, ...]:
        """All but the scores of the candidates."""
        return (NOVEL, *OF_SETS)

    def lower_is_better(self) -> tuple[str, ...]:
        """mBLEU-4: captions of one image that resemble each other have a high one."""
        return ("mBLEU-4",)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "diversity"."""
    return [
        Component(
            name="diversity",
            config=DiversityConfig,
            target=f"{__name__}.model:Diversity",
            summary="Different words, word pairs and captions; with several captions per image, their variety.",
            example=DiversityConfig(),
            source='Li et al., 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", arXiv '
            '1510.03055 (Distinct); Shetty et al., 2017, "Speaking the Same Language: Matching Machine to Human Captions by '
            'Adversarial Training", arXiv 1703.10476 (Div, mBLEU, Vocabulary, Novel); Wang and Chan, 2019, "Describing like '
            'Humans: on Diversity in Image Captioning", arXiv 1903.12020 (Self-CIDEr)',
        )
    ]
