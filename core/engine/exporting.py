"""`capfw export`: hands the captions and scores of a run to an exporter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError, RunError, SpecError
from ..protocols import CaptionedSplit, ExporterConfig, narrowed, split_of
from ..registry import Registry
from ..spec import Overrides, Part, RunSpec, load_part, load_spec, pairs_of
from ..spec.document import override_all
from .atomic import write_aside
from .build import build_dataset, build_exporter
from .evaluation import Evaluation
from .examples import captioned_split
from .run_directory import describe_data, open_run

FOLDER = "exports"
"""The folder in a run directory for exported files."""


@dataclass(frozen=True)
class Exported:
    """The result of an export. `output` is None where the exporter writes no file; `hint` says how to look at the result."""

    output: Path | None
    num_images: int
    split: str
    hint: str


def export_run(
    run_dir: Path | str,
    exporter: str,
    split: str | None = None,
    *,
    output: Path | str | None = None,
    overrides: Overrides | None = None,
    is_forced: bool = False,
    registry: Registry | None = None,
) -> Exported:
    """Exports the captions and scores of one split of a run, by default of the last one that was evaluated.

    `overrides` are options of the exporter, by JSON pointer. `output` defaults to a file in the run directory; with
    `is_forced` it may exist. Raises `CapfwError`: for an unknown exporter or split, and where the split has no results,
    the data set is gone or has changed, or a library is missing.
    """
    registry = registry or Registry.discover()
    section: dict[str, object] = {"name": exporter}
    if problems := override_all(section, pairs_of(overrides)):
        raise SpecError(problems, source="the exporter")
    part = load_part("exporter", section, registry=registry)
    directory = open_run(run_dir)
    spec = load_spec(directory.path / "spec.json", registry=registry, check_files=False)
    evaluation = _results(directory.path, split)
    target = _target(part, evaluation.split, directory.path, output, is_forced=is_forced)
    built = build_exporter(part)
    results = _with_samples(evaluation, spec, directory.path)
    if target is None:
        return Exported(None, len(results.images), results.split, built.export(results, None))
    hints: list[str] = []
    write_aside(target, lambda aside: hints.append(built.export(results, aside)))
    return Exported(target, len(results.images), results.split, hints[0])


def _results(run_dir: Path, split: str | None) -> Evaluation:
    """The stored evaluation of the split, by default of the first of test and val that has one."""
    wanted = ("test", "val") if split is None else (split_of(split) or split,)
    for name in wanted:
        if (evaluation := Evaluation.read(run_dir, name)) is not None:
            return evaluation
    raise RequestError(
        f"the run has no captions of split {wanted[0]}.",
        where=str(run_dir),
        fix=f"Caption and score it first: capfw evaluate {run_dir}" + (f" --split {wanted[0]}" if split else ""),
    )


def _target(part: Part, split: str, run_dir: Path, output: Path | str | None, *, is_forced: bool) -> Path | None:
    """The file to write, by default in the run directory; None where the exporter writes none."""
    suffix = narrowed(part.config, ExporterConfig).suffix()
    if suffix is None:
        if output is not None:
            fix = f"Leave it out. `capfw plugins show exporter/{part.name}` lists the options."
            raise RequestError(f"exporter {part.name} writes no file.", where="--output", fix=fix)
        return None
    target = Path(output) if output is not None else run_dir / FOLDER / f"{split}{suffix}"
    if target.is_dir():
        raise RequestError("this is a folder.", where=str(target), fix="Name a file: --output FILE.")
    if target.exists() and not is_forced:
        raise RequestError(
            "this file exists already.", where=str(target), fix="Name another with --output, or add --force."
        )
    return target


def _with_samples(evaluation: Evaluation, spec: RunSpec, run_dir: Path) -> CaptionedSplit:
    """The evaluation with the samples of the data set. Raises `RunError` where they are no longer those it was made of."""
    samples = [
        sample for sample in build_dataset(spec).samples(evaluation.split) if sample.image_id in evaluation.captions
    ]
    if describe_data({evaluation.split: samples})[evaluation.split] != evaluation.signature.get("data"):
        raise RunError(
            f"the data set has changed since split {evaluation.split} was captioned.",
            where=str(run_dir),
            fix=f"Restore the old data, or caption it again: capfw evaluate {run_dir} --split {evaluation.split}",
        )
    return captioned_split(evaluation, samples, spec, run_name=run_dir.name)
