"""Distinct-n: the variety of captions, in different n-grams, words and captions."""

from __future__ import annotations

from pydantic import Field

from capfw.core.protocols import Component, MetricConfig, hookimpl


class DistinctConfig(MetricConfig):
    """Options of metric "distinct"."""

    max_n: int = Field(2, ge=1, le=9, description="Length of the longest n-grams, in words.")

    def score_names(self) -> tuple[str, ...]:
        """Distinct-1 to Distinct-n, the number of different words, and the share of different captions."""
        return (*(f"Distinct-{n}" for n in range(1, self.max_n + 1)), "VocabularySize", "DistinctCaptions")


@hookimpl
def register_metrics() -> list[Component]:
    """Registers metric "distinct"."""
    return [
        Component(
            name="distinct",
            config=DistinctConfig,
            target=f"{__name__}.model:Distinct",
            summary="Variety of the captions: different n-grams, words and captions.",
            example=DistinctConfig(),
            source='Li et al., 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models"',
        )
    ]
