"""RunSpec, and its reading from JSON to typed parts. All problems are reported at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import SpecError
from ..options.problems import from_pydantic
from ..protocols import Component, GenerateOptions, GreedyOptions, Kind, MetricConfig, OutputPath, narrowed
from ..registry import Registry
from .coherence import contradictions_in
from .document import Overrides, override_all, pairs_of, read_document
from .part import Part, PartField
from .provenance import Provenance
from .resolution import Resolver
from .settings import FeatureSettings, TrainSettings


class RunSpec(BaseModel):
    """One experiment: data, encoder, mapper, decoder, training, generation, metrics. See `load_spec`."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    schema_: str | None = Field(None, alias="$schema", description="For editors; ignored.")
    capfw: Literal[1] = Field(description="Version of the spec format.")
    description: str = Field("", description="A description of the run, for people.")
    seed: int = Field(
        42, ge=0, strict=True, description="Seeds random weights, the order of captions, dropout and sampling."
    )
    data: PartField | None = Field(
        description="Data set: images and their references. With null, the run can only caption."
    )
    features: FeatureSettings = Field(FeatureSettings(), description="How images are encoded and stored.")
    encoder: PartField = Field(description="Image encoder; frozen unless /train/tune names it.")
    mapper: PartField = Field(description="Mapping network; trained unless /train/tune freezes it.")
    decoder: PartField = Field(description="Language model; trained unless /train/tune freezes it.")
    train: TrainSettings = Field(description="How to train.")
    context: PartField | None = Field(None, description="Text that the decoder reads before a caption. null: none.")
    generate: GenerateOptions = Field(GreedyOptions(), description="How to generate captions.")
    metrics: tuple[PartField, ...] = Field(min_length=1, description="How to score captions.")
    loggers: tuple[PartField, ...] = Field(
        (), description="Loggers that record the run. They may change when it continues."
    )
    run_dir: OutputPath = Field(description="Folder for everything that this run writes.")

    @property
    def components(self) -> tuple[tuple[Kind, Component], ...]:
        """Every component that a result of the run may depend on, with its kind, in the order of the sections: no logger."""
        objective = self.train.objective
        parts = (self.data, self.encoder, self.mapper, self.decoder, self.context, *self.metrics)
        parts += (objective, *(metric for metric in objective.metrics if metric not in parts))
        return tuple((part.kind, part.component) for part in parts if part is not None)

    @property
    def is_lower_better(self) -> bool:
        """Whether a lower value of `/train/best_by` is better, as its metric declares."""
        name, configs = self.train.best_by, [narrowed(metric.config, MetricConfig) for metric in self.metrics]
        return name == "loss" or any(name in config.lower_is_better() for config in configs)

    def to_json(self) -> dict[str, object]:
        """The resolved spec with all defaults, as JSON values; `load_spec` reads it back unchanged.

        It leaves `$schema` out, which is for editors and may hold a path relative to the original file.
        """
        return self.model_dump(mode="json", exclude={"schema_"})

    def without_loggers(self) -> dict[str, object]:
        """The resolved spec for other services and files: the options of a logger may hold an address with a password."""
        return {key: value for key, value in self.to_json().items() if key != "loggers"}


def load_spec(
    source: Path | str | Mapping[str, object],
    *,
    registry: Registry | None = None,
    overrides: Overrides | None = None,
    base_dir: Path | None = None,
    check_files: bool = True,
) -> RunSpec:
    """Reads a spec from a file or from JSON values. `overrides` has JSON pointers with values.

    Paths in it are relative to `base_dir`, by default the folder of the file, or the working directory for JSON values.
    `check_files=False` is for a run that is only used: it accepts missing input files and leaves out /loggers, so that
    their packages may be missing too. A run that has begun no longer needs the run in /train/from. No weights are read and
    no images opened.

    Raises `SpecError` with every problem found, each at its JSON pointer.
    """
    name, raw, folder, problems = read_document(source)
    registry = registry or Registry.discover()
    problems += override_all(raw, pairs_of(overrides))
    if not check_files:
        raw.pop("loggers", None)
    context = {"base_dir": base_dir or folder, "check_files": check_files}
    run_dirs = _run_dirs(raw, folder, base_dir)
    resolver = Resolver(registry, context, Provenance(*run_dirs))
    draft, part_problems = resolver.parts_of(raw)
    problems += part_problems
    spec = None
    has_begun = any((run_dir / "spec.json").is_file() for run_dir in run_dirs[1:])
    try:
        # The parts are validated already: the one input left is /train/from, whose weights a run has copied.
        spec = RunSpec.model_validate(draft, context={**context, "check_files": check_files and not has_begun})
    except ValidationError as err:
        # An unresolved part is reported already; here it would only have the wrong type.
        reported = {problem.pointer for problem in part_problems}
        found = from_pydantic(err, raw, RunSpec)
        problems += [p for p in found if not any(r == p.pointer or r.startswith(p.pointer + "/") for r in reported)]
    problems += contradictions_in(draft, registry)
    if problems:
        description = raw.get("description")
        raise SpecError(problems, source=name, description=description if isinstance(description, str) else "")
    assert spec is not None
    if spec.features.store is None:
        store = spec.run_dir.parent / "features"
        spec = spec.model_copy(update={"features": spec.features.model_copy(update={"store": store})})
    return spec


def load_part(
    kind: Kind,
    value: Mapping[str, object],
    *,
    registry: Registry | None = None,
    base_dir: Path | None = None,
) -> Part:
    """One component and its options, from a section of a spec: `load_part("metric", {"name": "cider"})`.

    Paths in it are relative to `base_dir`, by default the working directory; input files must exist.
    Raises `SpecError` with every problem.
    """
    plain = json.loads(json.dumps(value, default=str))
    context = {"base_dir": base_dir or Path.cwd(), "check_files": True}
    part, problems = Resolver(registry or Registry.discover(), context, Provenance()).part(plain, kind, "")
    if problems:
        raise SpecError(problems, source=f"the {kind}")
    assert isinstance(part, Part)
    return part


def _run_dirs(raw: Mapping[str, Any], folder: Path, base_dir: Path | None) -> list[Path]:
    """The folder of the spec, which may be that of a run, and the run directory that the spec names."""
    run_dir = raw.get("run_dir")
    named = [Path(base_dir or folder, Path(run_dir).expanduser())] if isinstance(run_dir, str) else []
    return [folder, *named]
