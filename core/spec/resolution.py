"""Finds the component that each section of a spec names, and validates its options."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..errors import PluginError, Problem
from ..options.fields import shown
from ..options.problems import from_pydantic, pointer
from ..protocols import KINDS, Component, ComponentConfig, Kind, ObjectiveConfig
from ..registry import Registry
from .document import find_value, override
from .part import Part
from .provenance import Provenance


@dataclass(frozen=True)
class Resolver:
    """Turns sections into parts. `context` is for the path types, `provenance` names the packages of an earlier run."""

    registry: Registry
    context: Mapping[str, object]
    provenance: Provenance

    def parts_of(self, raw: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """A copy of `raw` with a `Part` in place of every valid component, and the problems of the others.

        Writes default sections into `raw`.
        """
        _add_defaults(raw)
        draft, problems = copy.deepcopy(raw), list[Problem]()
        for kind, row in KINDS.items():
            for place, value in row.sections(raw).items():
                if value is not None or not row.is_optional:
                    part, found = self.part(value, kind, place)
                    problems += found + override(draft, place, part)
        return draft, problems

    def part(self, value: Any, kind: Kind, place: str) -> tuple[Any, list[Problem]]:
        """The part that a section names; for a wrong section, `value` itself and its problems."""
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            return value, [self._unnamed(value, kind, place)]
        try:
            component = self.registry.component(kind, value["name"], hint=self.provenance.hint(kind, value["name"]))
        except PluginError as err:
            return value, [Problem(f"{place}/name", err.what, err.fix or "")]
        options = {key: option for key, option in value.items() if key != "name"}
        try:
            config = self._validated(component, options)
            if isinstance(config, ObjectiveConfig):
                return self._objective(component, config, options, place)
        except ValidationError as err:
            return value, from_pydantic(err, options, component.config, place)
        return Part(kind, component, config), []

    def _validated(self, component: Component, options: Mapping[str, Any]) -> ComponentConfig:
        """Validates strictly, as JSON: "3" is not a number and true is not 1, but a list may be a tuple."""
        return component.config.model_validate_json(json.dumps(options), strict=True, context=dict(self.context))

    def _objective(
        self, component: Component, config: ObjectiveConfig, options: dict[str, Any], place: str
    ) -> tuple[Part, list[Problem]]:
        """The objective with its metrics. Its options hold each metric with all defaults written in."""
        metrics, problems = list[Part](), list[Problem]()
        for section in config.metrics():
            keys = find_value(options, section)
            metric, found = self.part(section, "metric", place + pointer(keys or []))
            problems += found
            if isinstance(metric, Part):
                metrics.append(metric)
                if keys:
                    override(options, pointer(keys), metric.to_json())
        complete = self._validated(component, options)
        return Part("objective", component, complete, tuple(metrics)), problems

    def _unnamed(self, value: Any, kind: Kind, place: str) -> Problem:
        names = ", ".join(component.name for component in self.registry.components(kind))
        fix = f'Write {{"name": ...}} with one of: {names or "none is installed"}.'
        if not isinstance(value, dict):
            return Problem(place, f"{shown(value)} is not an object that names the {kind}.", fix)
        if "name" in value:
            return Problem(f"{place}/name", f"{shown(value['name'])} is not a string.", fix)
        return Problem(f"{place}/name", f"this is required: it names the {kind}.", fix)


def _add_defaults(raw: dict[str, Any]) -> None:
    """Writes the default section of each kind that has one, with its parent objects, where the spec has none."""
    for row in KINDS.values():
        if row.default is None or row.section is None:
            continue
        *around, key = row.section.split("/")[1:]
        section: Any = raw
        for outer in around:
            section = section.setdefault(outer, {}) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.setdefault(key, copy.deepcopy(dict(row.default)))
