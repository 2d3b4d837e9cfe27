"""BLEU, ROUGE-L and CIDEr of coco-caption, after its PTB tokenisation; no Java."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, ComponentConfig, InputFile, hookimpl

_SOURCE = "coco-caption (Chen et al., 2015, arXiv 1504.00325), through pycocoevalcap"


class BleuConfig(ComponentConfig):
    """BLEU has no options."""

    def score_names(self) -> tuple[str, ...]:
        """BLEU-1 to BLEU-4."""
        return ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")


class RougeLConfig(ComponentConfig):
    """ROUGE-L has no options."""

    def score_names(self) -> tuple[str, ...]:
        """ROUGE-L."""
        return ("ROUGE-L",)


class CiderConfig(ComponentConfig):
    """Options of CIDEr."""

    document_frequencies: InputFile | None = Field(
        None, description="File of document frequencies that capfw wrote; null counts them in the references."
    )

    def score_names(self) -> tuple[str, ...]:
        """CIDEr."""
        return ("CIDEr",)


@hookimpl
def register_metrics() -> list[Component]:
    """The metrics of this plugin."""
    return [
        Component(
            name="bleu",
            config=BleuConfig,
            target=f"{__name__}.model:Bleu",
            summary="BLEU-1 to BLEU-4, corpus level, closest reference length.",
            example=BleuConfig(),
            source=f"Papineni et al., 2002; {_SOURCE}",
        ),
        Component(
            name="rouge-l",
            config=RougeLConfig,
            target=f"{__name__}.model:RougeL",
            summary="ROUGE-L, beta 1.2, the best precision and recall over the references.",
            example=RougeLConfig(),
            source=f"Lin, 2004; {_SOURCE}",
        ),
        Component(
            name="cider",
            config=CiderConfig,
            target=f"{__name__}.model:Cider",
            summary="CIDEr-D, unscaled: 1.2 is what papers print as 120.",
            example=CiderConfig(),
            source=f"Vedantam et al., 2015 (arXiv 1411.5726); {_SOURCE}",
        ),
    ]
