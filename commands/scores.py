"""The command that scores files of captions: score."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import AS_JSON, Columns, column_option, device_option, print_scores, registry_of, scores_as_json

if TYPE_CHECKING:
    from ..core.errors import CapfwError
    from ..core.protocols import Metric
    from ..core.spec import Part


@click.command()
@click.argument("candidates", required=False, type=click.Path(path_type=Path))
@click.option(
    "--references",
    required=True,
    type=click.Path(path_type=Path),
    help="File of references, in any of these formats.",
)
@click.option("--split", metavar="NAME", help="Use the references of this split of their file: val, test, ...")
@column_option(
    "--column", "columns", "The column of the candidates' table that holds file, caption or image_id; may be repeated."
)
@column_option("--reference-column", "reference_columns", "The same for the references' table; also for its split.")
@click.option(
    "--training-captions",
    "training",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Captions that the model was trained on, for the share of novel captions (metric diversity). Of a file with "
    "splits, those of split train.",
)
@click.option(
    "--metrics",
    "chosen",
    metavar="NAME,NAME,...",
    help='Metrics, by name, or as a JSON list of objects: \'[{"name": "cider", ...}]\'. By default all that need '
    "only captions.",
)
@click.option("--allow-missing", is_flag=True, help="Leave out images without a candidate.")
@click.option("--allow-extra", is_flag=True, help="Leave out candidates without references.")
@click.option("--allow-duplicates", is_flag=True, help="If an image has several candidates, score the first.")
@click.option("--per-image", type=click.Path(path_type=Path), help="Write every image's scores to this JSON file.")
@device_option("by default the CPU")
@click.option(
    "--write-document-frequencies",
    "frequencies",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Count the n-grams of the references in this file, for option document_frequencies of metric cider. CANDIDATES "
    "may then be left out.",
)
@AS_JSON
@click.pass_context
def score(
    ctx: click.Context,
    candidates: Path | None,
    references: Path,
    split: str | None,
    columns: Columns,
    reference_columns: Columns,
    training: Path | None,
    chosen: str | None,
    allow_missing: bool,
    allow_extra: bool,
    allow_duplicates: bool,
    per_image: Path | None,
    device: str | None,
    frequencies: Path | None,
    as_json: bool,
) -> None:
    """Score the captions of any system against references.

    Both files may be COCO's JSON, a table (CSV, TSV, JSON lines) with columns such as file and caption, what `capfw caption
    --output` wrote, or another format of a data set, such as Karpathy's. Images are matched by id, else by file name.
    """
    from ..core.captions import read_captions
    from ..core.scoring import choose_parts, score_files, write_document_frequencies

    if candidates is None and frequencies is None:
        raise click.UsageError("Missing argument 'CANDIDATES'.")
    if candidates is None and per_image is not None:
        raise click.UsageError("--per-image needs CANDIDATES.")
    registry = registry_of(ctx)
    parts = choose_parts(registry, chosen)
    inputs = {"the candidates": candidates, "the references": references, "the training captions": training}
    inputs |= _input_files(parts)
    _require_output(per_image, "--per-image", "the scores per image", inputs)
    _require_output(frequencies, "--write-document-frequencies", "the document frequencies", inputs)
    metrics = [part.build() for part in parts]
    known = read_captions(references, registry, columns=reference_columns, split=split, flag="--reference-column")
    if frequencies is not None:
        num_images = write_document_frequencies(frequencies, known, metrics)
        click.echo(f"Document frequencies of {num_images} images: {frequencies}", err=as_json)
    if candidates is None:
        return
    found = score_files(
        read_captions(candidates, registry, columns=columns),
        known,
        metrics,
        training=None if training is None else read_captions(training, registry).training(),
        allow_missing=allow_missing,
        allow_extra=allow_extra,
        allow_duplicates=allow_duplicates,
        around=_around(device),
    )
    for notice in found.notices:
        click.echo(f"Note: {notice}", err=True)
    if as_json:
        click.echo(json.dumps({**scores_as_json(found.scores, found.intervals), "signature": found.signature}))
    else:
        print_scores(f"Scores of {found.signature['num_images']} images", found.scores, found.intervals)
    if per_image is not None:
        _write(per_image, found.by_image())
        if not as_json:
            click.echo(f"Scores per image: {per_image}")


def _around(device: str | None) -> Callable[[Metric], AbstractContextManager[object]]:
    """The surroundings in which a metric scores: on the device, or as it was built. Most metrics need no torch."""
    if device is None:
        return nullcontext
    from ..core.engine.devices import parse_device
    from ..core.engine.evaluate import on_device

    return lambda metric: on_device(metric, parse_device(device))


def _input_files(parts: Sequence[Part]) -> dict[str, Path]:
    """The files and folders that the options of the metrics name."""
    options = {f'"{name}" of metric {part.name}': value for part in parts for name, value in part.config}
    return {name: value for name, value in options.items() if isinstance(value, Path)}


def _require_output(file: Path | None, option: str, what: str, inputs: Mapping[str, Path | None]) -> None:
    """Raises `DataError`, before scoring, if the output `what` cannot be written or would overwrite an input."""
    from ..core.errors import DataError

    if file is None:
        return
    for name, taken in inputs.items():
        if taken is not None and file.exists() and taken.exists() and file.samefile(taken):
            raise DataError(
                f"this is the file of {name}, which {what} would overwrite.",
                where=str(file),
                fix=f"Name another file: {option} FILE.",
            )
    try:
        if file.is_file() or file.is_dir():
            file.open("ab").close()
        elif not file.exists():  # do not touch a pipe or a device
            tempfile.TemporaryFile(dir=file.resolve().parent).close()
    except OSError as err:
        raise _unwritable(file, err, option, what) from err


def _write(file: Path, records: list[dict[str, object]]) -> None:
    try:
        file.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, UnicodeError) as err:
        raise _unwritable(file, err, "--per-image", "the scores per image") from err


def _unwritable(file: Path, err: OSError | UnicodeError, option: str, what: str) -> CapfwError:
    from ..core.errors import DataError

    reason = f"{what} cannot be written: {getattr(err, 'strerror', None) or err}."
    return DataError(reason, where=str(file), fix=f"Name a file in a folder that exists: {option} FILE.")
