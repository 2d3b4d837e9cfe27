"""Writes a first spec for the user's images and captions: `capfw init`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from ..errors import CapfwError, DataError, PluginError, Problem, SpecError
from ..protocols import (
    Component,
    ComponentConfig,
    Dataset,
    DatasetConfig,
    EncoderConfig,
    FeatureKind,
    Kind,
    MapperConfig,
    narrowed,
)
from ..registry import Registry
from ..spec import Overrides, Part, RunSpec, load_part, load_spec, pairs_of
from ..spec.document import override
from ..spec.schema import json_schema
from .from_run import TrainedRun

SCHEMA_FILE = "capfw.schema.json"
_COLUMNS = "/data/columns/"


@dataclass(frozen=True)
class Wishes:
    """The user's choices for a first spec. `names` holds the chosen components; the others are proposed.

    `captions` is None if they are inside the folder of the images. `overrides` has JSON pointers with values, as `--set`
    does. `columns` maps the role of a column ("file", "caption", ...) to the names that the user gives it. The parts and
    the weights come from `begins_with`, if it is given.
    """

    images: Path
    captions: Path | None
    run_dir: str
    names: Mapping[Kind, str] = field(default_factory=dict)
    overrides: Overrides = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    begins_with: TrainedRun | None = None


@dataclass(frozen=True)
class Checked:
    """A checked spec and its data."""

    spec: RunSpec
    data: CheckedData


@dataclass(frozen=True)
class CheckedData:
    """A data set that can be trained on: images per split, captions of all, fewest and most captions of an image.

    training_captions: the captions of the training images.
    """

    num_images: Mapping[str, int]
    num_captions: int
    captions_per_image: tuple[int, int]
    training_captions: Sequence[str]


class NoCaptionsInside(DataError):
    """The user named only a folder of images, and no data set finds captions inside."""


def draft(wishes: Wishes, registry: Registry, folder: Path) -> dict[str, Any]:
    """The JSON values of a spec in `folder`, without defaults.

    The options of a component are its `starter`; those of the data set come from the one that recognizes the captions.
    Raises `PluginError` for an unknown component, `DataError` for captions of an unknown format, and `SpecError` for
    overrides that do not fit. `UnclearColumns` and `NoCaptionsInside` are errors that an answer of the user can mend.
    """
    component, config = _recognize(wishes, registry)
    overrides = pairs_of(wishes.overrides)
    begun: dict[str, Any] = {
        "$schema": f"./{SCHEMA_FILE}",
        "capfw": 1,
        "data": _section(component, config, folder),
    }
    ended = {
        "metrics": [_started(c, folder) for c in registry.components("metric") if c.is_recommended],
        "run_dir": wishes.run_dir,
    }
    if run := wishes.begins_with:
        raw = {**begun, **run.sections(_relative(run.path.resolve(), folder)), **ended}
        _override(raw, wishes.overrides)
        run.require_same_parts(raw)
        return raw
    raw = {
        **begun,
        "encoder": _started(propose(registry, "encoder", wishes.names), folder),
        "mapper": {},
        "decoder": _started(propose(registry, "decoder", wishes.names), folder),
        **ended,
    }
    _override(raw, [each for each in overrides if not each[0].startswith("/mapper")])
    emitted = _emitted_features(raw["encoder"], registry, folder)
    raw["mapper"] = _started(propose(registry, "mapper", wishes.names, emitted), folder)
    _override(raw, [each for each in overrides if each[0].startswith("/mapper")])
    return raw


def propose(registry: Registry, kind: Kind, names: Mapping[Kind, str], emitted: FeatureKind | None = None) -> Component:
    """The chosen component, or else the recommended one; a mapper must read the features that the encoder emits."""
    if kind in names:
        return registry.component(kind, names[kind])
    fitting = [
        component
        for component in registry.components(kind)
        if emitted is None
        or narrowed(component.starter or component.example, MapperConfig).required_features() in (None, emitted)
    ]
    recommended = [component for component in fitting if component.is_recommended]
    if not fitting or not (recommended or len(fitting) == 1):
        registered = ", ".join(component.name for component in fitting) or "none"
        raise PluginError(f"no {kind} is recommended.", fix=f"Name one with --{kind}: {registered}.")
    return [*recommended, *fitting][0]


def check(raw: Mapping[str, Any], registry: Registry, folder: Path) -> Checked:
    """Reads the spec as `capfw run` does, and the annotations of its data. It opens no images.

    Raises `SpecError`. An error of the data set passes, a `DataError` with all wrong rows; and so does a `CapfwWarning`.
    """
    spec = load_spec(raw, registry=registry, base_dir=folder)
    assert spec.data is not None, "a draft names a data set"
    return Checked(spec, _examine(spec.data))


def check_data(raw: Mapping[str, Any], registry: Registry, folder: Path) -> CheckedData:
    """Checks the data set of a draft alone, before anything else is decided. Raises as `check` does."""
    return _examine(load_part("dataset", raw["data"], registry=registry, base_dir=folder))


def _examine(part: Part) -> CheckedData:
    dataset = part.build()
    if not isinstance(dataset, Dataset):
        raise PluginError(f'data set "{part.name}" lacks methods of the protocol.', fix="Choose another: --data NAME.")
    samples = {split: dataset.samples(split) for split in dataset.splits}
    if not samples.get("train"):
        raise DataError("the data set has no training images.", where="/data", fix='Give rows the split "train".')
    counts = [len(sample.references) for each in samples.values() for sample in each]
    return CheckedData(
        {split: len(each) for split, each in samples.items()},
        sum(counts),
        (min(counts), max(counts)),
        [reference for sample in samples["train"] for reference in sample.references],
    )


def write(raw: Mapping[str, Any], registry: Registry, output: Path, *, is_forced: bool = False) -> None:
    """Writes the spec, and beside it the JSON Schema that its `$schema` names.

    Raises `DataError` when either cannot be written, or exists and `is_forced` is False. A schema of capfw is replaced in
    any case.
    """
    schema = output.parent / SCHEMA_FILE
    require_free(output, is_forced=is_forced)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(_as_text(json_schema(registry)), encoding="utf-8")
        output.write_text(_as_text(raw), encoding="utf-8")
    except OSError as err:
        raise DataError(
            f"cannot be written: {err.strerror}.", where=str(err.filename or output), fix="Name another with --output."
        ) from err


def require_free(output: Path, *, is_forced: bool) -> None:
    """Raises `DataError` when `output` cannot be a new file, or when writing it would overwrite one, unless `is_forced`."""
    if output.is_dir():
        raise DataError("this is a folder.", where=str(output), fix="Name a file: --output spec.json.")
    if output.exists() and not is_forced:
        raise DataError(
            "this file exists already.", where=str(output), fix="Name another with --output, or add --force."
        )
    schema = output.parent / SCHEMA_FILE
    if schema.exists() and not is_forced and '"title": "capfw run spec"' not in schema.read_text(errors="replace"):
        raise DataError("this file is not a schema of capfw.", where=str(schema), fix="Move it, or add --force.")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        reason = "no files can be written there" if above.is_dir() else "it is not a folder"
        raise DataError(f"{reason}.", where=str(above), fix="Name another file with --output.")


def _as_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _recognize(wishes: Wishes, registry: Registry) -> tuple[Component, ComponentConfig]:
    named = wishes.names.get("dataset")
    asked = [registry.component("dataset", named)] if named else registry.components("dataset")
    images, captions = wishes.images.resolve(), wishes.captions.resolve() if wishes.captions else None
    columns = {**_columns_in(pairs_of(wishes.overrides)), **wishes.columns}
    found, failed = [], []
    for component in asked:
        options = narrowed(component.example, DatasetConfig)
        try:
            config = options.for_files(images=images, captions=captions, columns=columns)
        except CapfwError:
            raise
        except Exception as err:  # third-party code; it matters only if no other data set recognizes the file
            failed.append(f'Data set "{component.name}" failed to inspect it: {type(err).__name__}: {err}')
            continue
        if config is not None:
            found.append((component, config))
    if len(found) == 1:
        return found[0]
    where = str(captions or images)
    names = ", ".join(component.name for component, _ in found) or ", ".join(component.name for component in asked)
    if found:
        raise DataError(f"several data sets recognize this: {names}.", where=where, fix="Add --data NAME.")
    if captions is None:
        what = f"no data set finds captions inside this folder; tried: {names}."
        raise NoCaptionsInside(what, where=where, fix="\n".join([*failed, "Name their file with --captions FILE."]))
    how = "Use a format that one of them reads: see `capfw plugins show dataset/NAME`."
    raise DataError(
        f"no data set recognizes the format of this file; tried: {names}.",
        where=where,
        fix="\n".join([*failed, how, *["Leave --column out if it is no table."] * bool(columns)]),
    )


def _columns_in(overrides: Sequence[tuple[str, object]]) -> dict[str, Sequence[str]]:
    """The columns that `--set /data/columns/ROLE=NAME` names: recognition needs them too."""
    named = {place.removeprefix(_COLUMNS): value for place, value in overrides if place.startswith(_COLUMNS)}
    return {role: [value] if isinstance(value, str) else value for role, value in named.items() if _are_names(value)}


def _are_names(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _started(component: Component, folder: Path) -> dict[str, object]:
    return _section(component, component.starter, folder)


def _section(component: Component, config: ComponentConfig | None, folder: Path) -> dict[str, object]:
    """`{"name": ..., options}` with the options that are set, and paths relative to `folder`."""
    options = config.model_dump(by_alias=True, exclude_unset=True) if config else {}
    as_json = json.dumps(
        options, default=lambda value: _relative(value, folder) if isinstance(value, Path) else str(value)
    )
    return {"name": component.name, **json.loads(as_json)}


def _relative(path: Path, folder: Path) -> str:
    """The path relative to the spec; the absolute path if both share only the root."""
    try:
        shared = Path(os.path.commonpath([path, folder.resolve()]))
    except ValueError:  # on two drives
        return str(path)
    return str(path) if shared == Path(shared.anchor) else Path(os.path.relpath(path, folder.resolve())).as_posix()


def _override(raw: dict[str, Any], overrides: Overrides) -> None:
    problems: list[Problem] = [p for place, value in pairs_of(overrides) for p in override(raw, place, value)]
    if problems:
        raise SpecError(problems, source="--set")


def _emitted_features(section: Any, registry: Registry, folder: Path) -> FeatureKind | None:
    """The features that the encoder of this section emits; None if they are unknown or the section is wrong."""
    try:
        component = registry.component("encoder", section["name"])
        options = {key: value for key, value in section.items() if key != "name"}
        config = component.config.model_validate_json(json.dumps(options), context={"base_dir": folder})
    except (PluginError, ValidationError, KeyError, TypeError, AttributeError):
        return None
    return narrowed(config, EncoderConfig).emitted_features()
