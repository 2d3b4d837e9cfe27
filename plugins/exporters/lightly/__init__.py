"""Exporter "lightly"."""

from __future__ import annotations

from ....core.protocols import Component, ExporterConfig, hookimpl


class LightlyConfig(ExporterConfig):
    """Options of exporter "lightly"."""

    def suffix(self) -> str:
        """The suffix of the database."""
        return ".db"


@hookimpl
def register_exporters() -> list[Component]:
    """Registers "lightly"."""
    return [
        Component(
            name="lightly",
            config=LightlyConfig,
            target=f"{__name__}.model:LightlyExporter",
            summary="A database for LightlyStudio, with captions that can be corrected there.",
            example=LightlyConfig(),
            source="LightlyStudio, by `lightly-studio`",
        )
    ]
