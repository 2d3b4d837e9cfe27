"""Logger "wandb"."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ....core.protocols import Component, LoggerConfig, hookimpl


class WandbConfig(LoggerConfig):
    """Options of logger "wandb"."""

    project: str = Field("capfw", min_length=1, description="Project of Weights & Biases.")
    entity: str | None = Field(None, description="User or team; null: the default one of the account.")
    mode: Literal["online", "offline"] = Field(
        "online", description='"offline" records on this machine; `wandb sync` sends the record later.'
    )


@hookimpl
def register_loggers() -> list[Component]:
    """Registers "wandb"."""
    return [
        Component(
            name="wandb",
            config=WandbConfig,
            target=f"{__name__}.model:WandbLogger",
            summary="Weights & Biases, or its offline records in the run directory.",
            example=WandbConfig(mode="offline"),
            source="Weights & Biases, by `wandb`",
        )
    ]
