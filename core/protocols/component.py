"""How a plugin describes a component: a light record with a config model, and where the heavy class is."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from ..errors import PluginError
from .shapes import FeatureKind

Kind: TypeAlias = Literal["encoder", "mapper", "decoder", "metric", "dataset"]
KINDS: tuple[Kind, ...] = ("encoder", "mapper", "decoder", "metric", "dataset")


class ComponentConfig(BaseModel):
    """Base of every component's options: frozen, unknown keys refused, no `name` field.

    The methods below let `capfw validate` see a mismatch without torch and before any weight is read. Override the
    one that fits the kind; None means "known only once built", and the check then happens at building time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def emitted_features(self) -> FeatureKind | None:
        """For an encoder: what it emits under these options."""
        return None

    def required_features(self) -> FeatureKind | None:
        """For a mapper: the only kind of features it can read under these options; None when it reads both."""
        return None

    def score_names(self) -> tuple[str, ...]:
        """For a metric: the names of the corpus scores it yields."""
        return ()


@dataclass(frozen=True)
class Component:
    """One registered thing.

    `target` ("package.model:Class") is imported only when a run needs it. `example` is the smallest configuration
    that builds offline. `source` cites the paper or project the component comes from.

    `write_example` is for a component that reads files of the user's, which `example` can only name: it writes the
    smallest such files into an empty folder and returns the configuration that reads them. The conformance kit then
    builds that one. What it needs beyond the standard library it imports itself.
    """

    name: str
    config: type[ComponentConfig]
    target: str
    summary: str
    example: ComponentConfig
    source: str = ""
    write_example: Callable[[Path], ComponentConfig] | None = None

    def load(self) -> type:
        """Imports the heavy half and returns its class.

        Raises `PluginError` when the module or the class is missing, and whatever `CapfwError` the module itself raises.
        """
        module_name, _, class_name = self.target.partition(":")
        try:
            loaded = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as err:
            raise PluginError(
                f'component "{self.name}": cannot load {self.target}: {err}',
                fix=f'Install what is missing, or correct the target of "{self.name}".',
            ) from err
        assert isinstance(loaded, type), f"{self.target} is not a class"
        return loaded
