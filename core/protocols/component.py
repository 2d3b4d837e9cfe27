"""A plugin's description of a component: a light record with a config model and the location of the heavy class."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CapfwError, PluginError
from .configs import ComponentConfig


@dataclass(frozen=True)
class Component:
    """One registered component.

    `target` ("package.model:Class") is imported only when a run needs it. `example` is the smallest configuration
    that builds offline. `source` cites the paper or project that the component comes from. `starter` holds the options
    that `capfw init` writes for the component; without it, the user sets the options that have no default. `needs` says in
    a few words what its usual weights need ("a download of about 600 MB"). With `is_recommended`, `capfw init` may choose
    the component when the user names none.

    `revision` stands for the code of an installed release. Raise it in a release that computes other values from the
    same weights and options. In an editable or local install, a hash of the sources replaces it.

    `write_example` is for a component that reads the user's files, which `example` can only name. It writes the
    smallest such files into an empty folder and returns the configuration that reads them. The conformance kit then
    builds that configuration. The function itself imports any library that it needs.

    `example_sources` is for an encoder whose inputs are not images. It returns the encoded bytes of three or more short,
    different examples (WAV, ...). The conformance kit gives them to the encoder in place of images.
    """

    name: str
    config: type[ComponentConfig]
    target: str
    summary: str
    example: ComponentConfig
    source: str = ""
    starter: ComponentConfig | None = None
    is_recommended: bool = False
    write_example: Callable[[Path], ComponentConfig] | None = None
    example_sources: Callable[[], Sequence[bytes]] | None = None
    revision: int = 1
    needs: str = ""

    def load(self) -> type:
        """Imports the heavy half and returns its class.

        Raises `PluginError` when the import fails or there is no such class. A `CapfwError` of the module itself passes.
        """
        module_name, _, class_name = self.target.partition(":")
        try:
            loaded: object = getattr(importlib.import_module(module_name), class_name)
        except CapfwError:
            raise
        except (Exception, SystemExit) as err:  # a third party's module may raise anything
            library = err.name if isinstance(err, ModuleNotFoundError) and err.name else ""
            is_own = library.partition(".")[0] == module_name.partition(".")[0]
            install = (
                f"Install what is missing (pip install {library}), or correct" if library and not is_own else "Correct"
            )
            raise PluginError(
                f'component "{self.name}": cannot load {self.target}: {type(err).__name__}: {err}',
                fix=f'{install} the package of "{self.name}"; `capfw plugins` names it.',
            ) from err
        if not isinstance(loaded, type):
            raise PluginError(f'component "{self.name}": {self.target} is not a class.', fix="Correct its target.")
        return loaded
