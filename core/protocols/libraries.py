"""Imports the optional libraries of plugins."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingLibrary


def optional_library(module: str, *, needed_by: str, install: str) -> Any:
    """The imported module. `install` is the command that installs its library.

    Raises `MissingLibrary` where it is absent, or where its import fails.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        raise MissingLibrary(f"{needed_by} needs the library {err.name}.", fix=install) from err
    except ImportError as err:
        raise MissingLibrary(f"{needed_by} needs {module}, which cannot be imported: {err}.", fix=install) from err
