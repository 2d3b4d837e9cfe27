"""Records runs with MLflow. It uses `MlflowClient`: the functions of the module keep global state, and wait at exit."""

from __future__ import annotations

import csv
import io
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ....core.protocols import CaptionedImage, CaptionedSplit, LoggedRun, examples_table, optional_library
from . import MlflowConfig

_ID_FILE = "id.txt"
_INSTALL = 'pip install "capfw[mlflow]"'
_MOST_LETTERS = 6000  # of a parameter
_MOST_PARAMETERS = 100  # in one request


class MlflowLogger:
    """Sends parameters, values, examples with images, and the table of the final split. Raises `MissingLibrary`."""

    def __init__(self, config: MlflowConfig) -> None:
        self._config = config
        self._mlflow = optional_library("mlflow", needed_by="logger mlflow", install=_INSTALL)
        self._entities = optional_library("mlflow.entities", needed_by="logger mlflow", install=_INSTALL)
        self._client: Any = None
        self._id = ""

    def start(self, run: LoggedRun) -> str:
        is_local = self._config.tracking_uri is None
        uri = f"sqlite:///{run.folder / 'mlflow.db'}" if is_local else self._config.tracking_uri
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        file = run.folder / _ID_FILE
        if not self._continues(file, run):
            artifacts = (run.folder / "artifacts").as_uri() if is_local else None
            self._id = self._client.create_run(self._experiment(artifacts), run_name=run.name).info.run_id
            file.write_text(self._id, encoding="utf-8")
            self._log_parameters(run.spec)
        if is_local:
            return f"see it with: mlflow ui --backend-store-uri {shlex.quote(str(uri))}"
        return f"run {self._id} of experiment {self._config.experiment}"

    def _experiment(self, artifacts: str | None) -> str:
        """The id of the experiment. `artifacts` is the place of the artifacts of a new one."""
        name = self._config.experiment
        if (found := self._client.get_experiment_by_name(name)) is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        except self._mlflow.exceptions.MlflowException:  # another run may have made it meanwhile
            if (found := self._client.get_experiment_by_name(name)) is None:
                raise
            return str(found.experiment_id)

    def _continues(self, file: Path, run: LoggedRun) -> bool:
        """Whether the server has the run whose id is in `file`; then its record goes on."""
        if not run.is_resumed or not file.is_file():
            return False
        self._id = file.read_text(encoding="utf-8")
        try:
            self._client.update_run(self._id, status="RUNNING")
        except self._mlflow.exceptions.MlflowException as err:
            if err.error_code != "RESOURCE_DOES_NOT_EXIST":  # of another server, since `tracking_uri` was changed
                raise
            return False
        return True

    def _log_parameters(self, spec: Mapping[str, object]) -> None:
        found = [self._entities.Param(name, text[:_MOST_LETTERS]) for name, text in _flat(spec, "")]
        for start in range(0, len(found), _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=found[start : start + _MOST_PARAMETERS])
        self._client.log_dict(self._id, dict(spec), "spec.json")

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        now = round(time.time() * 1000)
        metrics = [self._entities.Metric(_allowed(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        for number, each in enumerate(examples):
            if (jpeg := each.thumbnail()) is not None:
                picture = Image.open(io.BytesIO(jpeg))
                self._client.log_image(self._id, picture, key=f"{split}/example {number}", step=step)
        text = _csv(*examples_table(examples))
        self._client.log_text(self._id, text, f"{split}/examples-step-{step}.csv")

    def log_results(self, results: CaptionedSplit) -> None:
        columns, rows = results.table()
        self._client.log_text(self._id, _csv(columns, rows), f"{results.split}/results.csv")

    def finish(self, *, is_complete: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if is_complete else "FAILED")


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    """The leaves of the spec, such as ("train.lr", "0.0001")."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield _allowed(name), str(value)


def _allowed(name: str) -> str:
    """The name with the characters that MLflow allows."""
    return "".join(sign if sign.isalnum() or sign in "_-. :/" else "_" for sign in name)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([columns, *rows])
    return written.getvalue()
