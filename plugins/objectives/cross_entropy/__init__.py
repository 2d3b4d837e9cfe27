"""Cross-entropy: teacher forcing, the objective of most captioners."""

from __future__ import annotations

from ....core.protocols import Component, ObjectiveConfig, hookimpl


class CrossEntropyConfig(ObjectiveConfig):
    """Options of objective "cross-entropy": none."""


@hookimpl
def register_objectives() -> list[Component]:
    """Registers "cross-entropy"."""
    return [
        Component(
            name="cross-entropy",
            config=CrossEntropyConfig,
            target=f"{__name__}.model:CrossEntropy",
            summary="Mean negative log-probability of the caption tokens, EOS included.",
            example=CrossEntropyConfig(),
            source="Show and Tell (Vinyals et al., 2015)",
        )
    ]
