"""Logger "mlflow"."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, LoggerConfig, hookimpl


class MlflowConfig(LoggerConfig):
    """Options of logger "mlflow"."""

    tracking_uri: str | None = Field(
        None, description="Server or database, as MLflow names them; null: a SQLite database in the run directory."
    )
    experiment: str = Field("capfw", min_length=1, description="Experiment; made where it does not exist.")


@hookimpl
def register_loggers() -> list[Component]:
    """Registers "mlflow"."""
    return [
        Component(
            name="mlflow",
            config=MlflowConfig,
            target=f"{__name__}.model:MlflowLogger",
            summary="An MLflow server, or a database in the run directory.",
            example=MlflowConfig(),
            source="MLflow, by `mlflow`",
        )
    ]
