"""The options of a component: one small base class per kind.

Its methods report facts about the options. `capfw validate` uses them to find a mismatch without torch and without
reading any weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from pydantic import Field, JsonValue

from ..options import Options
from .shapes import CaptionEntry, FeatureKind

_Config = TypeVar("_Config", bound="ComponentConfig")


class ComponentConfig(Options):
    """Options of any component: frozen, without a `name` field; unknown keys are errors. Subclass the base of your kind."""


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

    def unknown_words(self, captions: Iterable[str], *, assets: Path) -> Mapping[str, int]:
        """The words of `captions` that a decoder with these `assets` cannot write, with their counts. By default none."""
        return {}


class MetricConfig(ComponentConfig):
    """Options of a metric."""

    def needs(self) -> tuple[str, ...]:
        """The needs of the metric besides captions ("Java", "images"). By default `capfw score` uses metrics without any."""
        return ()

    def programs(self) -> tuple[str, ...]:
        """The commands that the options name and the metric runs. `capfw evaluate` runs none of a spec without consent."""
        return ()

    def score_names(self) -> tuple[str, ...]:
        """The names of the metric's corpus scores."""
        return ()

    def optional_score_names(self) -> tuple[str, ...]:
        """The `score_names` that the metric leaves out, with a `CapfwWarning`, where their input is missing.

        That input is `n_best` or `training_captions` of `Captioned`. None of them can be `/train/best_by`.
        """
        return ()

    def lower_is_better(self) -> tuple[str, ...]:
        """The `score_names` for which a lower value is better."""
        return ()


class DatasetConfig(ComponentConfig):
    """Options of a data set."""

    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> Self | None:
        """The options with which this data set reads the captions file and the image folder. Both exist.

        `captions` is None where the user named only the folder: the data set may find a file inside. `columns` maps the
        role of a column ("file", "caption", ...) to the user's own names; it is empty for most files.

        Returns None when the file has another format. Raises `UnclearColumns` when only the user knows the columns. A
        `CapfwWarning` becomes a notice. `capfw init` calls this on every data set, and writes the options that are set.
        """
        return None

    @classmethod
    def captions_of(cls, file: Path, *, columns: Mapping[str, Sequence[str]]) -> Sequence[CaptionEntry] | None:
        """The captions of each image in a file of this data set's format, each image once, without the images themselves.

        `capfw score` calls this on every data set for a file of candidates or references that is not in COCO's format.
        `columns` is as in `for_files`. An image without a caption is left out. Returns None when the file has another
        format. Raises `UnclearColumns` when only the user knows the columns, and `DataError` for wrong entries.
        """
        return None


class ImporterConfig(ComponentConfig):
    """Options of an importer."""


class ObjectiveConfig(ComponentConfig):
    """Options of an objective."""

    def metrics(self) -> tuple[Mapping[str, JsonValue], ...]:
        """The metrics that the objective needs, each as in a spec: {"name": ..., options}. The engine builds them."""
        return ()


class ContextConfig(ComponentConfig):
    """Options of a context."""

    def reads_features(self) -> bool:
        """Whether `fit` or `text` reads features. Such a context cannot be combined with a tuned encoder."""
        return False


class ExporterConfig(ComponentConfig):
    """Options of an exporter."""

    def suffix(self) -> str | None:
        """The suffix of the file that the exporter writes, such as ".csv"; None where it writes no file."""
        return None


class LoggerConfig(ComponentConfig):
    """Options of a logger."""

    finish_seconds: float = Field(
        30.0, ge=0, description="The longest time that the end of a run waits for this logger, in seconds."
    )


def narrowed(config: ComponentConfig, base: type[_Config]) -> _Config:
    """`config`, typed as the base class of its kind; registration has checked the class."""
    assert isinstance(config, base), f"{type(config).__name__} is no {base.__name__}"
    return config
