"""Logger "trackio"."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, LoggerConfig, hookimpl


class TrackioConfig(LoggerConfig):
    """Options of logger "trackio"."""

    project: str = Field("capfw", min_length=1, description="Project of trackio.")
    server_url: str | None = Field(
        None, description="A trackio server; null: the databases of this machine, in trackio's folder (TRACKIO_DIR)."
    )


@hookimpl
def register_loggers() -> list[Component]:
    """Registers "trackio"."""
    return [
        Component(
            name="trackio",
            config=TrackioConfig,
            target=f"{__name__}.model:TrackioLogger",
            summary="trackio: a database on this machine, or a server.",
            example=TrackioConfig(project="capfw-check"),
            source="trackio",
        )
    ]
