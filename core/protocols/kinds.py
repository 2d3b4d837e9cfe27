"""The kinds of component, in one table. A new kind is a row here, a template for `capfw new plugin`, and its checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import JsonValue

from . import configs, parts
from .configs import ComponentConfig

Kind: TypeAlias = Literal[
    "encoder", "mapper", "decoder", "metric", "dataset", "importer", "objective", "context", "logger", "exporter"
]


@dataclass(frozen=True)
class KindRow:
    """One kind of component.

    `section` is the JSON pointer to the section of a spec that names a component of this kind, or to the list of such
    sections (`is_list`); None where no spec names one: `command` then uses it, with NAME for its name. `is_optional`: the
    section may be null. `default` is the section where the spec has none. `plural` heads lists, `with_article` begins a
    sentence.
    """

    name: Kind
    plural: str
    with_article: str
    section: str | None
    protocol: type[Any]
    config: type[ComponentConfig]
    command: str = ""
    is_list: bool = False
    is_optional: bool = False
    default: Mapping[str, JsonValue] | None = None

    @property
    def hook(self) -> str:
        """The hook that registers components of this kind."""
        return f"register_{self.name}s"

    def fragment(self, section: Mapping[str, Any]) -> str:
        """The part of a spec in which `section` names a component of this kind, without the outer braces."""
        *around, key = (self.section or "/").split("/")[1:]
        text = f"{json.dumps(key)}: {json.dumps([section] if self.is_list else section, ensure_ascii=False)}"
        for outer in reversed(around):
            text = f"{json.dumps(outer)}: {{{text}}}"
        return text

    def sections(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The sections of a spec that name a component of this kind, by JSON pointer; absent ones are left out."""
        value: Any = document
        for key in (self.section or "/").split("/")[1:]:
            if not isinstance(value, Mapping) or key not in value:
                return {}
            value = value[key]
        if not self.is_list:
            return {self.section or "": value}
        return {f"{self.section}/{i}": each for i, each in enumerate(value)} if isinstance(value, list) else {}


_ROWS = (
    KindRow("encoder", "Encoders", "An image encoder", "/encoder", parts.Encoder, configs.EncoderConfig),
    KindRow("mapper", "Mappers", "A mapper", "/mapper", parts.Mapper, configs.MapperConfig),
    KindRow("decoder", "Decoders", "A decoder", "/decoder", parts.Decoder, configs.DecoderConfig),
    KindRow("metric", "Metrics", "A metric", "/metrics", parts.Metric, configs.MetricConfig, is_list=True),
    KindRow("dataset", "Data sets", "A data set", "/data", parts.Dataset, configs.DatasetConfig, is_optional=True),
    KindRow(
        "importer",
        "Importers",
        "An importer",
        None,
        parts.Importer,
        configs.ImporterConfig,
        command="capfw import checkpoint FILE RUN_DIR --format NAME",
    ),
    KindRow(
        "objective",
        "Objectives",
        "An objective",
        "/train/objective",
        parts.Objective,
        configs.ObjectiveConfig,
        default={"name": "cross-entropy"},
    ),
    KindRow("context", "Contexts", "A context", "/context", parts.Context, configs.ContextConfig, is_optional=True),
    KindRow("logger", "Loggers", "A logger", "/loggers", parts.Logger, configs.LoggerConfig, is_list=True),
    KindRow(
        "exporter",
        "Exporters",
        "An exporter",
        None,
        parts.Exporter,
        configs.ExporterConfig,
        command="capfw export RUN_DIR --to NAME",
    ),
)
KINDS: Mapping[Kind, KindRow] = {row.name: row for row in _ROWS}
"""Every kind by its name, in the order in which lists show them."""
