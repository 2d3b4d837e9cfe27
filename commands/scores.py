"""The command that scores files of captions: score."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import AS_JSON, device_option, print_scores, registry_of

if TYPE_CHECKING:
    from ..core.errors import CapfwError
    from ..core.protocols import Metric


@click.command()
@click.argument("candidates", type=click.Path(path_type=Path))
@click.option(
    "--references",
    required=True,
    type=click.Path(path_type=Path),
    help="COCO captions file: annotations, each with an image_id and a caption.",
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
@AS_JSON
@click.pass_context
def score(
    ctx: click.Context,
    candidates: Path,
    references: Path,
    chosen: str | None,
    allow_missing: bool,
    allow_extra: bool,
    allow_duplicates: bool,
    per_image: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Score the captions of any system against references.

    CANDIDATES is a COCO results file, a list of {image_id, caption}.
    """
    from ..core.scoring import choose_metrics, score_files

    if per_image is not None:
        _require_output(per_image, {"candidates": candidates, "references": references})
    found = score_files(
        candidates,
        references,
        choose_metrics(registry_of(ctx), chosen),
        allow_missing=allow_missing,
        allow_extra=allow_extra,
        allow_duplicates=allow_duplicates,
        around=_around(device),
    )
    for notice in found.notices:
        click.echo(f"Note: {notice}", err=True)
    if as_json:
        click.echo(json.dumps({"scores": dict(found.scores), "signature": found.signature}))
    else:
        print_scores(f"Scores of {found.signature['num_images']} images", found.scores)
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


def _require_output(file: Path, inputs: Mapping[str, Path]) -> None:
    """Raises `DataError`, before scoring, if the scores per image cannot be written or would overwrite an input."""
    from ..core.errors import DataError

    for what, taken in inputs.items():
        if file.exists() and taken.exists() and file.samefile(taken):
            raise DataError(
                f"this is the file of the {what}, which the scores per image would overwrite.",
                where=str(file),
                fix="Name another file: --per-image FILE.",
            )
    try:
        if file.is_file() or file.is_dir():
            file.open("ab").close()
        elif not file.exists():  # do not touch a pipe or a device
            tempfile.TemporaryFile(dir=file.resolve().parent).close()
    except OSError as err:
        raise _unwritable(file, err) from err


def _write(file: Path, records: list[dict[str, object]]) -> None:
    try:
        file.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, UnicodeError) as err:
        raise _unwritable(file, err) from err


def _unwritable(file: Path, err: OSError | UnicodeError) -> CapfwError:
    from ..core.errors import DataError

    what = f"the scores per image cannot be written: {getattr(err, 'strerror', None) or err}."
    return DataError(what, where=str(file), fix="Name a file in a folder that exists: --per-image FILE.")
