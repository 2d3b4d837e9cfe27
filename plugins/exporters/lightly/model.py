"""Writes a database for LightlyStudio."""

from __future__ import annotations

import contextlib
import glob
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....core.protocols import CaptionedImage, CaptionedSplit, DataError, FileSource, listed, optional_library
from . import LightlyConfig

_NEEDED_BY, _INSTALL = "exporter lightly", 'pip install "capfw[lightly]"'


class LightlyExporter:
    """Adds each image file with its best caption; references, log-probability and scores are metadata.

    LightlyStudio reads image files, so images of other sources are refused. Raises `MissingLibrary`.
    """

    def __init__(self, config: LightlyConfig) -> None:
        os.environ.setdefault("LIGHTLY_STUDIO_ANALYTICS_ENABLED", "false")  # an export reports to nobody
        with _quiet():
            self._studio = optional_library("lightly_studio", needed_by=_NEEDED_BY, install=_INSTALL)
            outcomes = optional_library(
                "lightly_studio.core.file_outcome_report", needed_by=_NEEDED_BY, install=_INSTALL
            )
            self._all_failed = outcomes.AllInputFilesFailedError
            self._database = self._studio.db_manager

    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        assert output is not None, "its config has a suffix"
        files = _files(results)
        with _quiet():
            self._database.connect(db_file=str(output), cleanup_existing=True)
            try:
                self._write(results, files)
            finally:
                self._database.close()
        return "opens with: lightly-studio gui --db-file FILE"

    def _write(self, results: CaptionedSplit, files: list[Path]) -> None:
        dataset = self._studio.ImageDataset.create(name=f"{results.run_name} {results.split}")
        for file in files:
            with contextlib.suppress(self._all_failed):  # it is reported below
                dataset.add_images_from_path(path=glob.escape(str(file)), embed=False)
        added = {Path(sample.file_path_abs): sample for sample in dataset}
        if missing := [file for file in files if file not in added]:
            raise DataError(f"LightlyStudio reads no image at {listed(missing, 3)}.", fix="Export to csv or parquet.")
        facts = []
        for image, file in zip(results.images, files, strict=True):
            added[file].add_caption(image.caption)
            facts.append((added[file].sample_id, _facts(image)))
        dataset.update_metadata(facts)


def _files(results: CaptionedSplit) -> list[Path]:
    """The image file of each image. Raises `DataError` for an image that is no file."""
    others = [image.name for image in results.images if not isinstance(image.source, FileSource)]
    if others:
        what = f"LightlyStudio reads image files, but {len(others)} images are no files: {listed(others, 3)}."
        raise DataError(what, fix="Export to csv or parquet, or give the run a data set of files.")
    return [image.source.path.resolve() for image in results.images if isinstance(image.source, FileSource)]


def _facts(image: CaptionedImage) -> dict[str, Any]:
    facts: dict[str, Any] = {"image_id": str(image.image_id), "log_prob": image.log_probs[0]}
    return {**facts, **image.scores, "references": list(image.references)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back the messages of the import and of a new database, and the bars of each image. Errors pass."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
