"""Turns other projects' checkpoints into run directories (`capfw import checkpoint`). Plugins know the formats."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor

from ...errors import BadCheckpoint, IncompatibleComponents, Problem, RequestError, RunError, SpecError
from ...options.problems import pointer
from ...protocols import (
    Call,
    FeatureShape,
    ForeignCheckpoint,
    Importer,
    KnowsForeignNames,
    MissingWeights,
    fetch_weights,
    read_weights,
    require_layout,
)
from ...registry import Registry
from ...spec import Overrides, RunSpec, load_spec, pairs_of
from ...spec.document import override
from ...spec.trained import FORMAT
from ..assembling import mark_prepared
from ..atomic import write_json
from ..build import build_decoder, build_encoder, build_model, prepare_assets, trains_whole_decoder
from ..checkpoint import Checkpoints
from ..run_directory import RunDirectory, providers, versions
from ..weights import FRESH, published_weights

FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class ImportedRun:
    """A run directory made from another project's checkpoint; `notices` name each assumption."""

    run_dir: Path
    format_name: str
    spec: RunSpec
    notices: tuple[str, ...]


def import_checkpoint(
    file: Path,
    run_dir: Path,
    *,
    format_name: str | None = None,
    overrides: Overrides | None = None,
    registry: Registry | None = None,
) -> ImportedRun:
    """Writes `run_dir`, ready for `Captioner.load` and `evaluate_run`, from the checkpoint in `file`.

    `overrides` (JSON pointers and values) supply what the file does not contain, such as a data set or an encoder. Paths
    in them are relative to the working directory. Without a data set the run can caption, but it cannot be evaluated.
    The directory appears whole or not at all.

    Raises `RequestError` when the directory exists, and `RunError` when it cannot be created. Raises `BadCheckpoint` when
    the file is damaged, has no known format, or does not fit the parts. Raises `SpecError` for missing or wrong options.
    """
    registry = registry or Registry.discover()
    run_dir = Path(os.path.abspath(run_dir.expanduser()))  # so that lexists finds "x/.."
    if os.path.lexists(run_dir):
        raise RequestError("this path exists already.", where=str(run_dir), fix="Choose another run directory.")
    state = read_weights(file)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    found, importer, name = recognise(
        registry, format_name, file, lambda importer: importer.checkpoint(shapes, embed_dim=None)
    )
    spec = _spec(found, run_dir, overrides, registry)
    calls: frozenset[Call] = frozenset({"prepare", "restore"}) if trains_whole_decoder(spec) else FRESH
    fetch_weights(published_weights(spec, decoder_calls=calls, work="caption"))
    with _written_aside(run_dir) as folder:
        directory = RunDirectory(folder)
        prepare_assets(spec, [], directory.assets)
        mark_prepared(directory.assets)
        embed_dim = build_decoder(spec, directory.assets, is_restored=trains_whole_decoder(spec)).embed_dim
        found = importer.checkpoint(shapes, embed_dim=embed_dim) or found
        spec = _spec(found, run_dir, overrides, registry)
        _write(directory, spec, state, file, found)
        directory.record(
            format=FORMAT,
            imported={"format": name, "file": file.name, "sha256": _sha256(file)},
            plugins=providers(spec, registry),
        )
    return ImportedRun(spec.run_dir, name, spec, found.notices)


def recognise(
    registry: Registry, format_name: str | None, file: Path, read: Callable[[Importer], FoundT | None]
) -> tuple[FoundT, Importer, str]:
    """The content of the file, with its importer and that importer's name.

    `format_name` names the importer; without it, exactly one must recognise the file. Raises `MissingWeights` when there
    is no such file, and `BadCheckpoint` when no importer or several recognise it.
    """
    if not file.is_file():
        raise MissingWeights(f"there is no file {file}.", fix="Check the path.")
    known = registry.components("importer")
    candidates = known if format_name is None else (registry.component("importer", format_name),)
    built = [(cast("Importer", component.load()(component.example)), component.name) for component in candidates]
    answers = [(read(importer), importer, name) for importer, name in built]
    found = [(answer, importer, name) for answer, importer, name in answers if answer is not None]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadCheckpoint(
            f"{file} matches several formats: {', '.join(name for _, _, name in found)}.",
            fix="Choose one with --format.",
        )
    what = f'{file} does not have the format "{format_name}".' if format_name else f"{file} has no known format."
    raise BadCheckpoint(what, fix="\n".join(["Formats:", *(f"{each.name}: {each.summary}" for each in known)]))


def _spec(found: ForeignCheckpoint, run_dir: Path, overrides: Overrides | None, registry: Registry) -> RunSpec:
    raw: dict[str, Any] = {"capfw": 1, "data": None, **found.sections, "run_dir": str(run_dir)}
    problems = [p for place, value in pairs_of(overrides) for p in override(raw, place, value)]
    for place, words in found.needed.items():
        if _at(raw, place) is None:
            what = "the checkpoint does not contain this option, and the command does not set it."
            problems.append(Problem(place, what, f"{words}\nAdd --set {place}=..."))
    problems += _unchangeable(raw, run_dir)
    if problems:
        raise SpecError(problems, source="the imported checkpoint")
    return load_spec(raw, registry=registry)


def _unchangeable(raw: Mapping[str, Any], run_dir: Path) -> list[Problem]:
    """The options that the import would write but could not follow."""
    problems = []
    if raw["run_dir"] != str(run_dir):
        what = f"the command already sets the run directory to {run_dir}."
        problems.append(Problem("/run_dir", what, "Leave out --set /run_dir=..."))
    if _at(raw, "/features/standardize") is True:
        what = "the checkpoint was trained without standardised features, and holds no mean and deviation."
        problems.append(Problem("/features/standardize", what, "Leave it out."))
    return problems


def _at(raw: Any, place: str) -> object:
    for key in place.split("/")[1:]:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


@contextmanager
def _written_aside(run_dir: Path) -> Iterator[Path]:
    """A temporary folder beside `run_dir`. It is renamed to `run_dir` at the end, or deleted after an error."""
    aside = run_dir.with_name(f".{run_dir.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with _made(run_dir):
            aside.mkdir(parents=True)
        yield aside
        with _made(run_dir):
            aside.replace(run_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _made(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise RunError(
            f"the run directory cannot be created: {err.strerror or err}.",
            where=str(run_dir),
            fix="Choose another in a folder where you can write.",
        ) from err


def _check_numbers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path) -> None:
    """Raises `BadCheckpoint` for values that no trained network has. Every name of `state` is in `expected`."""
    other = [n for n, value in state.items() if value.is_floating_point() != expected[n].is_floating_point()]
    broken = [n for n, value in state.items() if not bool(value.isfinite().all())]
    for names, what in ((other, "have another number type (quantised?)"), (broken, "hold NaN or infinity")):
        if names:
            raise BadCheckpoint(
                f"{file}: {len(names)} of {len(state)} entries {what}: {', '.join(names[:3])}.",
                fix="Import another checkpoint of this training, saved in floating point.",
            )


def _write(
    directory: RunDirectory,
    spec: RunSpec,
    state: Mapping[str, Tensor],
    file: Path,
    found: ForeignCheckpoint,
) -> None:
    renamed = _renamed(state, spec, file)
    encoder = build_encoder(spec)
    _check_width(encoder.feature_shape, found.feature_dim, spec)
    model = build_model(spec, encoder, directory.assets, is_restored=trains_whole_decoder(spec))
    # The buffers for standardisation belong to our model; the checkpoint has only the parts.
    expected = {n: v for n, v in model.saved_state().items() if n.startswith(("mapper.", "decoder."))}
    require_layout(renamed, {n: tuple(v.shape) for n, v in expected.items()}, source=file, option="")
    _check_numbers(renamed, expected, file)
    model.load_state_dict(dict(renamed), strict=False)
    Checkpoints(directory.path / "checkpoints").adopt(model.saved_state())
    write_json(directory.path / "spec.json", spec.to_json())
    directory.record(
        versions=versions(),
        features={
            "encoder_fingerprint": encoder.fingerprint(),
            "shape": [encoder.feature_shape.num_tokens, encoder.feature_shape.dim],
        },
        frozen_fingerprint=model.frozen_fingerprint(),
        is_trained=True,
    )


def _renamed(state: Mapping[str, Tensor], spec: RunSpec, file: Path) -> dict[str, Tensor]:
    """The tensors under their names in `CaptioningModel`. Raises `BadCheckpoint` for entries that no part knows."""
    names: dict[str, str | None] = {}
    for part in (spec.mapper, spec.decoder):
        part_class = part.component.load()
        if issubclass(part_class, KnowsForeignNames):
            renamed = part_class.foreign_names(state)
            names |= {theirs: ours and f"{part.kind}.{ours}" for theirs, ours in renamed.items()}
    unknown = [name for name in state if name not in names]
    if unknown:
        raise BadCheckpoint(
            f'{file} has {len(unknown)} entries that neither mapper "{spec.mapper.name}" nor decoder '
            f'"{spec.decoder.name}" knows: {", ".join(unknown[:3])}{", ..." if len(unknown) > 3 else ""}.',
            fix="Do not change /mapper and /decoder, or name the parts that the file was saved from.",
        )
    return {ours: state[theirs] for theirs, ours in names.items() if ours is not None}


def _check_width(shape: FeatureShape, feature_dim: int, spec: RunSpec) -> None:
    if (shape.num_tokens, shape.dim) != (1, feature_dim):
        error = IncompatibleComponents(
            f'the checkpoint reads one pooled embedding of width {feature_dim}, but encoder "{spec.encoder.name}" emits '
            f"(B, {shape.num_tokens}, {shape.dim}).",
            fix="Name the encoder that the checkpoint was trained with: --set /encoder=...",
        )
        error.where = pointer(["encoder"])
        raise error


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
