"""Writes a Parquet file with pyarrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....core.protocols import CaptionedImage, CaptionedSplit, optional_library
from . import ParquetConfig

_ROWS = 500  # in a row group: what is in memory at once, thumbnails included
_IMAGE = {"_type": "Image"}


class ParquetExporter:
    """Writes one row per image: id, file, captions, references, scores, and a thumbnail. Raises `MissingLibrary`.

    The metadata of the file has the scores of the split and the spec, and marks thumbnails as images for Hugging Face's
    `datasets` and Hub.
    """

    def __init__(self, config: ParquetConfig) -> None:
        install = 'pip install "capfw[parquet]"'
        self._arrow = optional_library("pyarrow", needed_by="exporter parquet", install=install)
        self._parquet = optional_library("pyarrow.parquet", needed_by="exporter parquet", install=install)
        self._has_thumbnails = config.thumbnails

    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        is_number = all(isinstance(image.image_id, int) for image in results.images)
        schema = self._schema(results, is_number=is_number)
        with self._parquet.ParquetWriter(output, schema) as writer:
            for start in range(0, len(results.images), _ROWS):
                images = results.images[start : start + _ROWS]
                columns = self._columns(images, results.score_names, is_number=is_number)
                writer.write_table(self._arrow.table(columns, schema=schema))
        return "opens in DuckDB, pandas (pd.read_parquet) and Hugging Face's datasets"

    def _schema(self, results: CaptionedSplit, *, is_number: bool) -> Any:
        arrow = self._arrow
        texts = arrow.list_(arrow.string())
        columns = {
            "image_id": arrow.int64() if is_number else arrow.string(),
            "file": arrow.string(),
            "caption": arrow.string(),
            "log_prob": arrow.float64(),
            "other_captions": texts,
            "references": texts,
            **dict.fromkeys(results.score_names, arrow.float64()),
        }
        facts: dict[str, object] = {
            "capfw": {
                "run": results.run_name,
                "split": results.split,
                "step": results.step,
                "scores": dict(results.scores),
                "spec": dict(results.spec),
            }
        }
        if self._has_thumbnails:
            columns["image"] = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
            facts["huggingface"] = {"info": {"features": {"image": _IMAGE}}}
        return arrow.schema(columns, metadata={name: json.dumps(value) for name, value in facts.items()})

    def _columns(
        self, images: Sequence[CaptionedImage], score_names: Sequence[str], *, is_number: bool
    ) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "image_id": [image.image_id if is_number else str(image.image_id) for image in images],
            "file": [image.name for image in images],
            "caption": [image.caption for image in images],
            "log_prob": [image.log_probs[0] for image in images],
            "other_captions": [list(image.captions[1:]) for image in images],
            "references": [list(image.references) for image in images],
            **{name: [image.scores.get(name) for image in images] for name in score_names},
        }
        if self._has_thumbnails:
            columns["image"] = [_picture(image) for image in images]
        return columns


def _picture(image: CaptionedImage) -> dict[str, object] | None:
    jpeg = image.thumbnail()
    return None if jpeg is None else {"bytes": jpeg, "path": image.name}
