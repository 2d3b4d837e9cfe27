"""RunSpec, and how one is read: from JSON to typed parts, with every problem found and named at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, PlainSerializer, ValidationError

from .document import override, parse_override, read_document
from .errors import PluginError, Problem, SpecError, nearest
from .fields import listed_values, shown
from .problems import from_pydantic, pointer
from .protocols import (
    Component,
    ComponentConfig,
    FeatureKind,
    GenerateOptions,
    GreedyOptions,
    Kind,
    OutputPath,
)
from .provenance import Provenance
from .registry import Registry
from .settings import FeatureSettings, TrainSettings

__all__ = ["SECTIONS", "Part", "RunSpec", "load_part", "load_spec", "parse_override"]

SECTIONS: Mapping[str, Kind] = {"data": "dataset", "encoder": "encoder", "mapper": "mapper", "decoder": "decoder"}


@dataclass(frozen=True)
class Part:
    """A component and its options."""

    kind: Kind
    component: Component
    config: ComponentConfig

    @property
    def name(self) -> str:
        """The component's registered name."""
        return self.component.name

    def to_json(self) -> dict[str, object]:
        """`{"name": ..., options}` as JSON values."""
        return {"name": self.name, **self.config.model_dump(mode="json")}

    def build(self, **given: object) -> Any:
        """The component itself: its class, imported now, with the config and what its kind is `given` by keyword.

        A mapper is given `features` and `embed_dim`, a decoder `assets`, the others nothing. What it returns is known
        by its kind alone, hence Any. Raises what the class raises: `ComponentError` where an option cannot be met.
        """
        return self.component.load()(self.config, **given)


_PartField = Annotated[InstanceOf[Part], PlainSerializer(Part.to_json)]


class RunSpec(BaseModel):
    """One experiment: data, encoder, mapper, decoder, training, generation, metrics. See `load_spec`."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    schema_: str | None = Field(None, alias="$schema", description="For editors; ignored.")
    capfw: Literal[1] = Field(description="Version of the spec format.")
    description: str = Field("", description="What this run is, for people.")
    seed: int = Field(
        42, ge=0, strict=True, description="Seeds random weights, the order of captions, dropout and sampling."
    )
    data: _PartField | None = Field(
        description="Data set: images and their references. null: none, so that this run can only caption."
    )
    features: FeatureSettings = Field(FeatureSettings(), description="How images are encoded and kept.")
    encoder: _PartField = Field(description="Image encoder, frozen.")
    mapper: _PartField = Field(description="Mapping network, trained.")
    decoder: _PartField = Field(description="Language model, frozen or trained.")
    train: TrainSettings = Field(TrainSettings(), description="How to train.")
    generate: GenerateOptions = Field(GreedyOptions(), description="How to generate captions.")
    metrics: tuple[_PartField, ...] = Field(min_length=1, description="How to score captions.")
    run_dir: OutputPath = Field(description="Folder of everything this run writes.")

    @property
    def components(self) -> tuple[tuple[Kind, Component], ...]:
        """Every component that the spec names, with its kind, in the order of the sections."""
        parts = (self.data, self.encoder, self.mapper, self.decoder, *self.metrics)
        return tuple((part.kind, part.component) for part in parts if part is not None)

    def to_json(self) -> dict[str, object]:
        """The resolved spec, every default written in, as JSON values; `load_spec` reads it back unchanged.

        `$schema` is left out: it is for the editor of the spec it stands in, and a path in it is relative to that file.
        """
        return self.model_dump(mode="json", exclude={"schema_"})


def load_spec(
    source: Path | str | Mapping[str, object],
    *,
    registry: Registry | None = None,
    overrides: Mapping[str, object] | None = None,
    base_dir: Path | None = None,
    check_files: bool = True,
) -> RunSpec:
    """Reads a spec from a file or from JSON values. `overrides` maps JSON pointers to values.

    Paths in it are relative to `base_dir`: the file's folder, or the working directory. `check_files=False` accepts
    input files that are not there. No weights are read and no images opened.

    Raises `SpecError` with every problem found, each at its JSON pointer.
    """
    name, raw, folder, problems = read_document(source)
    registry = registry or Registry.discover()
    for place, value in (overrides or {}).items():
        problems += override(raw, place, value)
    context = {"base_dir": base_dir or folder, "check_files": check_files}
    draft, part_problems = _resolve_parts(raw, registry, context, _provenance(raw, folder, base_dir))
    problems += part_problems
    spec = None
    try:
        spec = RunSpec.model_validate(draft, context=context)
    except ValidationError as err:
        # A part that could not be resolved is a problem already; here it is only of the wrong type.
        reported = {problem.pointer for problem in part_problems}
        found = from_pydantic(err, raw, RunSpec)
        problems += [p for p in found if not any(r == p.pointer or r.startswith(p.pointer + "/") for r in reported)]
    problems += _compatibility(draft, registry) + _metrics_listed(draft) + _best_by(draft)
    if problems:
        raise SpecError(problems, source=name)
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
    """One component and its options, as they stand in a spec: `load_part("metric", {"name": "cider"})`.

    Paths in it are relative to `base_dir`, by default the working directory; input files must be there.
    Raises `SpecError` with every problem found.
    """
    plain = json.loads(json.dumps(value, default=str))
    context = {"base_dir": base_dir or Path.cwd(), "check_files": True}
    part, problems = _resolve(plain, kind, "", registry or Registry.discover(), context, Provenance())
    if problems:
        raise SpecError(problems, source=f"the {kind}")
    assert isinstance(part, Part)
    return part


def _provenance(raw: Mapping[str, Any], folder: Path, base_dir: Path | None) -> Provenance:
    """What is recorded beside the spec (that of a run directory) and in the run directory it names."""
    run_dir = raw.get("run_dir")
    named = [Path(base_dir or folder, Path(run_dir).expanduser())] if isinstance(run_dir, str) else []
    return Provenance(folder, *named)


def _resolve_parts(
    raw: Mapping[str, Any], registry: Registry, context: Mapping[str, object], provenance: Provenance
) -> tuple[dict[str, Any], list[Problem]]:
    """`raw` with a `Part` in place of every component that is right, and the problems of the others."""
    draft, problems = dict(raw), []
    for section, kind in SECTIONS.items():
        if section in raw and not (section == "data" and raw[section] is None):
            draft[section], found = _resolve(raw[section], kind, f"/{section}", registry, context, provenance)
            problems += found
    metrics = raw.get("metrics")
    if isinstance(metrics, list):
        resolved = [
            _resolve(m, "metric", f"/metrics/{i}", registry, context, provenance) for i, m in enumerate(metrics)
        ]
        draft["metrics"] = [part for part, _ in resolved]
        problems += [problem for _, found in resolved for problem in found]
    return draft, problems


def _resolve(
    value: Any, kind: Kind, place: str, registry: Registry, context: Mapping[str, object], provenance: Provenance
) -> tuple[Any, list[Problem]]:
    names = ", ".join(component.name for component in registry.components(kind))
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        fix = f'Write {{"name": ...}} with one of: {names or "none is installed"}.'
        if not isinstance(value, dict):
            return value, [Problem(place, f"{shown(value)} is not an object that names the {kind}.", fix)]
        what = (
            f"{shown(value['name'])} is not a string."
            if "name" in value
            else f"this is required: it says which {kind}."
        )
        return value, [Problem(f"{place}/name", what, fix)]
    try:
        component = registry.component(kind, value["name"], hint=provenance.hint(kind, value["name"]))
    except PluginError as err:
        return value, [Problem(f"{place}/name", err.what, err.fix or "")]
    options = {key: option for key, option in value.items() if key != "name"}
    try:
        # Strict, and as JSON: "3" is no number and true is no 1, yet a list makes a tuple and a string a path.
        config = component.config.model_validate_json(json.dumps(options), strict=True, context=dict(context))
    except ValidationError as err:
        return value, from_pydantic(err, options, component.config, place)
    return Part(kind, component, config), []


def _compatibility(draft: Mapping[str, Any], registry: Registry) -> list[Problem]:
    encoder, mapper = draft.get("encoder"), draft.get("mapper")
    if not isinstance(encoder, Part) or not isinstance(mapper, Part):
        return []
    emitted, required = encoder.config.emitted_features(), mapper.config.required_features()
    if emitted is None or required is None or emitted == required:
        return []
    needs = {"pooled": "one pooled embedding per image", "tokens": "patch tokens"}[required]
    gives = {"pooled": "one pooled embedding (B, 1, D)", "tokens": "patch tokens (B, N, D)"}[emitted]
    message = f'"{mapper.name}" needs {needs}, but encoder "{encoder.name}" emits {gives}.'
    fitting = [c.name for c in registry.components("mapper") if c.example.required_features() in (None, emitted)]
    ways = [f"set {place} to {shown(value)}" for place, value in _options_that_emit(encoder, required)]
    ways += [f"use {'mapper' if len(fitting) == 1 else 'one of'} {', '.join(map(shown, fitting))}"] if fitting else []
    fix = ", or ".join(ways) or f"use an encoder that emits {needs}"
    return [Problem("/mapper", message, f"{fix[0].upper()}{fix[1:]}.")]


def _options_that_emit(encoder: Part, wanted: FeatureKind) -> list[tuple[str, object]]:
    """Options of the encoder that list their values, with the value under which it emits what is wanted."""
    return [
        (pointer(["encoder", name]), value)
        for name, field in encoder.component.config.model_fields.items()
        for value in listed_values(field)
        if encoder.config.model_copy(update={name: value}).emitted_features() == wanted
    ]


def _metrics_listed(draft: Mapping[str, Any]) -> list[Problem]:
    listed = draft.get("metrics")
    metrics = listed if isinstance(listed, list) else []
    problems, owners = [], dict[str, Part]()
    for index, metric in enumerate(metrics):
        if not isinstance(metric, Part):  # wrong itself, and reported
            continue
        if metric in metrics[:index]:
            what = f'"{metric.name}" is listed twice with the same options.'
            problems.append(Problem(f"/metrics/{index}", what, "Remove one."))
        elif taken := [name for name in metric.config.score_names() if name in owners]:
            what = f'"{metric.name}" yields {", ".join(taken)}, and so does "{owners[taken[0]].name}" before it.'
            fix = "Keep one here; `capfw evaluate` with --set and --output scores by the other."
            problems.append(Problem(f"/metrics/{index}", what, fix))
        owners |= dict.fromkeys(metric.config.score_names(), metric)
    return problems


def _best_by(draft: Mapping[str, Any]) -> list[Problem]:
    """Checked before the other settings are known to be right, and left alone while a metric is wrong."""
    metrics, train = draft.get("metrics"), draft.get("train", {})
    if not isinstance(metrics, list) or not isinstance(train, dict) or not all(isinstance(m, Part) for m in metrics):
        return []
    default = TrainSettings.model_fields["best_by"].default
    best_by = train.get("best_by", default)
    names = [*(name for metric in metrics for name in metric.config.score_names()), "loss"]
    if best_by in names or not isinstance(best_by, str) or not metrics:
        return []
    close = nearest(best_by, names)
    whose = "" if "best_by" in train else ", which is the default"
    fix = f'Scores of /metrics: {", ".join(names[:-1]) or "none"}; or "loss".' + (
        f'  Did you mean "{close}"?' if close else ""
    )
    return [Problem("/train/best_by", f"no metric of this spec yields {shown(best_by)}{whose}.", fix)]
