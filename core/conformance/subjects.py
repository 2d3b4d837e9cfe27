"""The subject of the checks: one component with one configuration, built once for all its checks."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from ..engine.build import frozen
from ..engine.seeds import seeded
from ..errors import CapfwError, MissingLibrary, SpecError
from ..options.fields import listed_values
from ..protocols import (
    KINDS,
    Component,
    ComponentConfig,
    Dataset,
    Decoder,
    Encoder,
    FeatureShape,
    Kind,
    Mapper,
    MapperConfig,
    Metric,
    ObjectiveConfig,
    narrowed,
)
from ..registry import Registry
from ..spec import load_part
from .surroundings import offline

CAPTIONS = (
    "a red circle above a blue square",
    "two dogs run",
    "a man rides a green bicycle down the long street",
)
EMBED_DIM = 64  # the decoder width with which mappers are built; common numbers of heads divide it


class NotChecked(Exception):
    """The error of a check that cannot run, with the reason."""


@dataclass(frozen=True)
class _Attempt:
    """The result of a build: the component or the error, and the hosts that it tried to reach."""

    built: object
    error: Exception | None
    hosts: tuple[str, ...]


@dataclass(eq=False)
class Subject:
    """A component with its kind and plugin, and the options that differ from its example."""

    kind: Kind
    component: Component
    plugin: object
    changes: Mapping[str, object] = field(default_factory=dict)

    @property
    def options(self) -> str:
        """The changed options as JSON; empty for the example itself."""
        return ", ".join(f"{name} {json.dumps(value)}" for name, value in self.changes.items())

    @cached_property
    def config(self) -> ComponentConfig:
        """The configuration: the example, or the result of `write_example`, with the changes."""
        write = self.component.write_example
        return changed(self.component.example if write is None else write(self.folder("example")), self.changes)

    def folder(self, name: str) -> Path:
        """A new, empty folder, which is deleted with the subject."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._root))

    @cached_property
    def _root(self) -> str:
        root = tempfile.mkdtemp(prefix="capfw-conformance-")
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        return root

    @cached_property
    def assets(self) -> Path:
        """The folder in which the decoder was prepared with `CAPTIONS`."""
        return self.prepare(CAPTIONS)

    def prepare(self, captions: tuple[str, ...]) -> Path:
        """A new folder in which the decoder is prepared with these captions."""
        folder = self.folder("assets")
        with seeded(0, "assets"):
            cast("type[Decoder]", self.component.load()).prepare(self.config, captions=iter(captions), assets=folder)
        return folder

    @cached_property
    def _metrics(self) -> list[Metric]:
        """The metrics of an objective, from the installed plugins and its own."""
        registry = Registry.discover().with_plugins(self.plugin)
        sections = narrowed(self.config, ObjectiveConfig).metrics()
        try:
            return [load_part("metric", section, registry=registry).build() for section in sections]
        except (SpecError, MissingLibrary) as err:
            raise NotChecked(str(err)) from err

    def construct(self, **given: Any) -> Any:
        """Calls the class as the engine does; `given` replaces the keywords of its kind."""
        made = self.component.load()
        if self.kind == "mapper":
            shape = FeatureShape(num_tokens=self.token_counts[0], dim=16)
            return made(self.config, **{"features": shape, "embed_dim": EMBED_DIM, **given})
        if self.kind == "decoder":
            return made(self.config, **{"assets": self.assets, **given})
        if self.kind == "objective":
            return made(self.config, **{"metrics": self._metrics, **given})
        if self.kind == "context":
            return made(self.config, **{"assets": self.folder("assets"), **given})
        return made(self.config)

    def build(self, seed: int = 0, **given: Any) -> Any:
        """Builds a new component with this seed; an encoder is frozen."""
        with seeded(seed, self.kind):
            built = self.construct(**given)
        return frozen(built) if self.kind == "encoder" and not missing_members(built, Encoder) else built

    @property
    def token_counts(self) -> tuple[int, ...]:
        """The numbers of feature tokens that the mapper must read."""
        counts = {"pooled": (1,), "tokens": (4,), None: (1, 4)}  # 4: also a square grid
        return counts[narrowed(self.config, MapperConfig).required_features()]

    @cached_property
    def attempt(self) -> _Attempt:
        """The first build, without a network. Raises `NotChecked` when the class cannot be loaded."""
        try:
            self.component.load()
        except MissingLibrary as err:
            raise NotChecked(str(err)) from err
        except (Exception, SystemExit) as err:
            raise NotChecked(f"{self.component.target} cannot be loaded: see loads-target.") from err
        built, error = None, None
        with offline() as hosts:
            try:
                built = self.build()
            except (Exception, SystemExit) as err:
                error = err if isinstance(err, Exception) else RuntimeError(f"it ended the program: {err!r}")
        return _Attempt(built, error, tuple(hosts))

    def is_excused(self, error: Exception | None) -> bool:
        """Whether a failed build is no fault: a library is missing, or the changed option does not fit the example."""
        return isinstance(error, MissingLibrary) or (bool(self.changes) and isinstance(error, CapfwError))

    def built_or_not_checked(self) -> Any:
        """The built component, even without the methods of its protocol. Raises `NotChecked` when it does not build."""
        error = self.attempt.error
        if self.is_excused(error):
            raise NotChecked(str(error))
        if error is not None:
            raise NotChecked("the example does not build: see builds-offline.")
        return self.attempt.built

    def sound(self) -> Any:
        """The built component with all methods of its protocol. Raises `NotChecked` otherwise."""
        built = self.built_or_not_checked()
        if missing_members(built, KINDS[self.kind].protocol):
            raise NotChecked("it lacks methods: see has-the-methods.")
        return built

    @property
    def encoder(self) -> Encoder:
        """The encoder, frozen."""
        return cast("Encoder", self.sound())

    @property
    def mapper(self) -> Mapper:
        """The mapper for the first of `token_counts`, in eval mode."""
        return cast("Mapper", self.sound()).train(False)

    @property
    def decoder(self) -> Decoder:
        """The decoder, in eval mode."""
        return cast("Decoder", self.sound()).train(False)

    @property
    def metric(self) -> Metric:
        """The metric."""
        return cast("Metric", self.sound())

    @property
    def dataset(self) -> Dataset:
        """The data set."""
        return cast("Dataset", self.sound())


def subjects(registry: Registry) -> list[Subject]:
    """Every component of the registry in each of its variants."""
    return [
        s for kind in KINDS for component in registry.components(kind) for s in subjects_of(registry, kind, component)
    ]


def subjects_of(registry: Registry, kind: Kind, component: Component) -> list[Subject]:
    """A component with its example, and with each change of `listed_changes`."""
    plugin = registry.plugin_of(kind, component.name)
    return [Subject(kind, component, plugin, changes) for changes in ({}, *listed_changes(component))]


def variants(component: Component) -> list[ComponentConfig]:
    """The example, and the example with each change of `listed_changes`. Its files need not exist."""
    changes = ({}, *listed_changes(component))
    return [changed(component.example, each, check_files=False) for each in changes]


def listed_changes(component: Component) -> Iterator[dict[str, object]]:
    """Every other value of every option that lists its values (`Literal`), one at a time, if the config allows it."""
    for name, option in component.config.model_fields.items():
        for value in listed_values(option):
            if getattr(component.example, name) == value:
                continue
            try:
                changed(component.example, {name: value}, check_files=False)
            except ValidationError:  # it does not fit the rest of the example
                continue
            yield {name: value}


def changed(config: ComponentConfig, changes: Mapping[str, object], *, check_files: bool = True) -> ComponentConfig:
    """The configuration with some options replaced, validated again like a spec."""
    if not changes:
        return config
    options = {**config.model_dump(mode="json", exclude_unset=True), **changes}
    return type(config).model_validate_json(json.dumps(options), strict=True, context={"check_files": check_files})


def missing_members(built: object, protocol: Any) -> list[str]:
    """The public names of the protocol that the object lacks."""
    bases = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False)]
    names = sorted({name for base in bases for name in vars(base) if not name.startswith("_")})
    return [name for name in names if not hasattr(built, name)]
