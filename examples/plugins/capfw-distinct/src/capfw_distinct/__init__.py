"""Distinct-n: how varied captions are. Different n-grams, different words, different captions."""

from __future__ import annotations

from pydantic import Field

from capfw.core.protocols import Component, MetricConfig, hookimpl


class DistinctConfig(MetricConfig):
    """Options of metric "distinct"."""

    max_n: int = Field(2, ge=1, le=9, description="Longest n-grams, in words.")

    def score_names(self) -> tuple[str, ...]:
        """Distinct-1 to Distinct-n, the number of different words, and the share of different captions."""
        return (*(f"Distinct-{n}" for n in range(1, self.max_n + 1)), "VocabularySize", "DistinctCaptions")


@hookimpl
def register_metrics() -> list[Component]:
    """The metric "distinct"."""
    return [
        Component(
            name="distinct",
            config=DistinctConfig,
            target=f"{__name__}.model:Distinct",
            summary="How varied the captions are: different n-grams, words and captions.",
            example=DistinctConfig(),
            source='Li et al., 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models"',
        )
    ]
