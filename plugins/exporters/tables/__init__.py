"""Exporters "csv" and "parquet": tables with one row per image."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, ExporterConfig, hookimpl


class CsvConfig(ExporterConfig):
    """Options of exporter "csv"."""

    def suffix(self) -> str:
        """The suffix of the file."""
        return ".csv"


class ParquetConfig(ExporterConfig):
    """Options of exporter "parquet"."""

    thumbnails: bool = Field(True, description="Whether a column `image` has a small JPEG of each image.")

    def suffix(self) -> str:
        """The suffix of the file."""
        return ".parquet"


@hookimpl
def register_exporters() -> list[Component]:
    """Registers "csv" and "parquet"."""
    return [
        Component(
            name="csv",
            config=CsvConfig,
            target=f"{__name__}.csv_file:CsvExporter",
            summary="A CSV file with captions, references and scores, for spreadsheets.",
            example=CsvConfig(),
            source="RFC 4180",
        ),
        Component(
            name="parquet",
            config=ParquetConfig,
            target=f"{__name__}.parquet_file:ParquetExporter",
            summary="A Parquet file with captions, references, scores and thumbnails, for DuckDB, pandas and the Hub.",
            example=ParquetConfig(),
            source="Apache Parquet, by `pyarrow`",
        ),
    ]
