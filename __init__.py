"""capfw: compose, train and score image captioners from plugins and one JSON spec.

Names are resolved on first use (PEP 562), so that importing capfw, or asking for `--help`, loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.engine.captioner import Captioner as Captioner
    from .core.engine.run import run as run
    from .core.errors import CapfwError as CapfwError
    from .core.protocols import hookimpl as hookimpl
    from .core.registry import Registry as Registry
    from .core.spec import load_spec as load_spec

_PUBLIC = {
    "CapfwError": ".core.errors",
    "Captioner": ".core.engine.captioner",
    "Registry": ".core.registry",
    "hookimpl": ".core.protocols",
    "load_spec": ".core.spec",
    "run": ".core.engine.run",
}
__all__ = ["CapfwError", "Captioner", "Registry", "hookimpl", "load_spec", "run"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
