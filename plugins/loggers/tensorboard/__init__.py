"""Logger "tensorboard"."""

from __future__ import annotations

from ....core.protocols import Component, LoggerConfig, hookimpl


class TensorBoardConfig(LoggerConfig):
    """Options of logger "tensorboard"."""


@hookimpl
def register_loggers() -> list[Component]:
    """Registers "tensorboard"."""
    return [
        Component(
            name="tensorboard",
            config=TensorBoardConfig,
            target=f"{__name__}.model:TensorBoardLogger",
            summary="Event files in the run directory, for TensorBoard.",
            example=TensorBoardConfig(),
            source="TensorBoard, by `torch.utils.tensorboard`",
        )
    ]
