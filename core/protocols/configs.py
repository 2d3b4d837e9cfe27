"""The options of a component: one small base class per kind, with what the kind's options report of themselves.

These methods let `capfw validate` find a mismatch without torch and before any weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from .shapes import FeatureKind

_Config = TypeVar("_Config", bound="ComponentConfig")


class ComponentConfig(BaseModel):
    """Options of any component: frozen, unknown keys refused, no `name` field. Derive from the base of the kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EncoderConfig(ComponentConfig):
    """Options of an encoder."""

    def emitted_features(self) -> FeatureKind | None:
        """The features that the encoder emits under these options; None when only the built encoder knows."""
        return None


class MapperConfig(ComponentConfig):
    """Options of a mapper."""

    def required_features(self) -> FeatureKind | None:
        """The only kind of features that the mapper reads under these options; None when it reads both."""
        return None


class DecoderConfig(ComponentConfig):
    """Options of a decoder."""


class MetricConfig(ComponentConfig):
    """Options of a metric."""

    def needs(self) -> tuple[str, ...]:
        """The needs besides captions ("Java", "images"). `capfw score` by itself uses only metrics without any."""
        return ()

    def score_names(self) -> tuple[str, ...]:
        """The names of the corpus scores that the metric yields."""
        return ()

    def lower_is_better(self) -> tuple[str, ...]:
        """Of `score_names`, the scores of which less is better."""
        return ()


class DatasetConfig(ComponentConfig):
    """Options of a data set."""

    @classmethod
    def for_files(cls, *, images: Path, captions: Path) -> Self | None:
        """The options that read this captions file over this image folder, which both exist.

        None when the file is of another form. `capfw init` asks every data set, and writes the options that are set.
        """
        return None


class ImporterConfig(ComponentConfig):
    """Options of an importer."""


class ObjectiveConfig(ComponentConfig):
    """Options of an objective."""

    def metrics(self) -> tuple[Mapping[str, JsonValue], ...]:
        """The metrics that the objective is handed, each as in a spec: {"name": ..., options}. The engine builds them."""
        return ()


class ContextConfig(ComponentConfig):
    """Options of a context."""

    def reads_features(self) -> bool:
        """Whether `fit` or `text` reads features; such a context cannot go with a tuned encoder."""
        return False


def narrowed(config: ComponentConfig, base: type[_Config]) -> _Config:
    """`config` as the base class of its kind, which registration has checked."""
    assert isinstance(config, base), f"{type(config).__name__} is no {base.__name__}"
    return config
