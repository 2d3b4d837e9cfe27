"""Checks between the sections of a spec: features, scores, tuned parts. Each section may be valid on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Problem, suggestion
from ..options.fields import listed_values, shown
from ..options.problems import pointer
from ..protocols import (
    ComponentConfig,
    ContextConfig,
    EncoderConfig,
    FeatureKind,
    MapperConfig,
    MetricConfig,
    narrowed,
)
from ..registry import Registry
from .part import Part
from .settings import TrainSettings, TuneSettings


def contradictions_in(draft: Mapping[str, Any], registry: Registry) -> list[Problem]:
    """The problems between sections of a spec in which each valid component is a `Part`.

    Other settings may still be invalid: these checks skip a section that is itself wrong.
    """
    return _compatibility(draft, registry) + _metrics_listed(draft) + _best_by(draft) + _tuning(draft) + _loggers(draft)


def _compatibility(draft: Mapping[str, Any], registry: Registry) -> list[Problem]:
    encoder, mapper = draft.get("encoder"), draft.get("mapper")
    if not isinstance(encoder, Part) or not isinstance(mapper, Part):
        return []
    emitted, required = _emitted(encoder.config), _required(mapper.config)
    if emitted is None or required is None or emitted == required:
        return []
    needs = {"pooled": "one pooled embedding per image", "tokens": "patch tokens"}[required]
    gives = {"pooled": "one pooled embedding (B, 1, D)", "tokens": "patch tokens (B, N, D)"}[emitted]
    message = f'"{mapper.name}" needs {needs}, but encoder "{encoder.name}" emits {gives}.'
    fitting = [c.name for c in registry.components("mapper") if _required(c.example) in (None, emitted)]
    ways = [f"set {place} to {shown(value)}" for place, value in _options_that_emit(encoder, required)]
    ways += [f"use {'mapper' if len(fitting) == 1 else 'one of'} {', '.join(map(shown, fitting))}"] if fitting else []
    fix = ", or ".join(ways) or f"use an encoder that emits {needs}"
    return [Problem("/mapper", message, f"{fix[0].upper()}{fix[1:]}.")]


def _options_that_emit(encoder: Part, wanted: FeatureKind) -> list[tuple[str, object]]:
    """The encoder options that list their values, each with a value under which the encoder emits `wanted`."""
    return [
        (pointer(["encoder", name]), value)
        for name, field in encoder.component.config.model_fields.items()
        for value in listed_values(field)
        if _emitted(encoder.config.model_copy(update={name: value})) == wanted
    ]


def _emitted(config: ComponentConfig) -> FeatureKind | None:
    return narrowed(config, EncoderConfig).emitted_features()


def _required(config: ComponentConfig) -> FeatureKind | None:
    return narrowed(config, MapperConfig).required_features()


def _score_names(metric: Part) -> tuple[str, ...]:
    return narrowed(metric.config, MetricConfig).score_names()


def _metrics_listed(draft: Mapping[str, Any]) -> list[Problem]:
    listed = draft.get("metrics")
    metrics = listed if isinstance(listed, list) else []
    problems, owners = [], dict[str, Part]()
    for index, metric in enumerate(metrics):
        if not isinstance(metric, Part):  # invalid, and already reported
            continue
        if metric in metrics[:index]:
            what = f'"{metric.name}" is listed twice with the same options.'
            problems.append(Problem(f"/metrics/{index}", what, "Remove one."))
        elif taken := [name for name in _score_names(metric) if name in owners]:
            what = f'"{metric.name}" yields {", ".join(taken)}, but so does "{owners[taken[0]].name}" before it.'
            fix = "Keep one here; use `capfw evaluate` with --set and --output for the other."
            problems.append(Problem(f"/metrics/{index}", what, fix))
        owners |= dict.fromkeys(_score_names(metric), metric)
    return problems


def _loggers(draft: Mapping[str, Any]) -> list[Problem]:
    """Whether each logger is listed once: it has one folder in the run directory."""
    listed = draft.get("loggers")
    names = [part.name if isinstance(part, Part) else None for part in (listed if isinstance(listed, list) else [])]
    return [
        Problem(f"/loggers/{index}", f'"{name}" is listed twice.', "Remove one.")
        for index, name in enumerate(names)
        if name is not None and name in names[:index]
    ]


def _best_by(draft: Mapping[str, Any]) -> list[Problem]:
    """Whether a metric yields the score of `best_by`. Skipped while a metric is wrong."""
    metrics, train = draft.get("metrics"), draft.get("train", {})
    if not isinstance(metrics, list) or not isinstance(train, dict) or not all(isinstance(m, Part) for m in metrics):
        return []
    default = TrainSettings.model_fields["best_by"].default
    best_by = train.get("best_by", default)
    optional = {name for each in metrics for name in narrowed(each.config, MetricConfig).optional_score_names()}
    names = [*(name for each in metrics for name in _score_names(each) if name not in optional), "loss"]
    if best_by in optional:
        what = f"{shown(best_by)} is left out where its input is missing, so it cannot choose the best checkpoint."
        return [Problem("/train/best_by", what, f"Choose one of {', '.join(names)}.")]
    if best_by in names or not isinstance(best_by, str) or not metrics:
        return []
    whose = "" if "best_by" in train else ", which is the default"
    scores = f'Scores of /metrics: {", ".join(names[:-1]) or "none"}; or "loss".'
    fix = f"{scores}  {suggestion(best_by, names)}".rstrip()
    return [Problem("/train/best_by", f"no metric of this spec yields {shown(best_by)}{whose}.", fix)]


def _tuning(draft: Mapping[str, Any]) -> list[Problem]:
    """Whether a part is tuned, and nothing needs the stored features of a tuned encoder."""
    train = draft.get("train")
    tune = train.get("tune", {}) if isinstance(train, dict) else None
    if not isinstance(tune, dict):
        return []
    tuned = [name for name, field in TuneSettings.model_fields.items() if tune.get(name, field.default) is not None]
    if not tuned:
        return [
            Problem(
                "/train/tune", "no part is tuned.", f"Give one of {', '.join(TuneSettings.model_fields)} an object."
            )
        ]
    if "encoder" not in tuned:
        return []
    problems, features, context = [], draft.get("features"), draft.get("context")
    if isinstance(features, dict) and features.get("standardize") is True:
        what = "the features of a tuned encoder change, so they have no fixed mean and deviation."
        problems.append(Problem("/features/standardize", what, "Set it to false, or /train/tune/encoder to null."))
    if isinstance(context, Part) and narrowed(context.config, ContextConfig).reads_features():
        what = f'"{context.name}" reads features, but the features of a tuned encoder change.'
        problems.append(Problem("/context", what, "Use another context, or set /train/tune/encoder to null."))
    return problems
