"""capfw: compose, train and score image captioners from plugins and one JSON spec.

Names are resolved on first use (PEP 562), so that `import capfw` and `capfw --help` load nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.comparing import Comparison as Comparison
    from .core.comparing import compare as compare
    from .core.engine.captioner import Captioner as Captioner
    from .core.engine.evaluation import Evaluation as Evaluation
    from .core.engine.importing.checkpoints import import_checkpoint as import_checkpoint
    from .core.engine.importing.features import import_features as import_features
    from .core.engine.run import RunResult as RunResult
    from .core.engine.run import evaluate_run as evaluate_run
    from .core.engine.run import run as run
    from .core.errors import CapfwError as CapfwError
    from .core.protocols import hookimpl as hookimpl
    from .core.registry import Registry as Registry
    from .core.scoring import score_files as score_files
    from .core.spec import RunSpec as RunSpec
    from .core.spec import load_part as load_part
    from .core.spec import load_spec as load_spec
    from .core.sweeping import load_sweep as load_sweep
    from .core.sweeping import run_sweep as run_sweep
    from .core.sweeping import sweep_results as sweep_results

_PUBLIC = {
    "CapfwError": ".core.errors",
    "Captioner": ".core.engine.captioner",
    "Comparison": ".core.comparing",
    "Evaluation": ".core.engine.evaluation",
    "Registry": ".core.registry",
    "RunResult": ".core.engine.run",
    "RunSpec": ".core.spec",
    "compare": ".core.comparing",
    "evaluate_run": ".core.engine.run",
    "hookimpl": ".core.protocols",
    "import_checkpoint": ".core.engine.importing.checkpoints",
    "import_features": ".core.engine.importing.features",
    "load_part": ".core.spec",
    "load_spec": ".core.spec",
    "load_sweep": ".core.sweeping",
    "run": ".core.engine.run",
    "run_sweep": ".core.sweeping",
    "score_files": ".core.scoring",
    "sweep_results": ".core.sweeping",
}
__all__ = [
    "CapfwError",
    "Captioner",
    "Comparison",
    "Evaluation",
    "Registry",
    "RunResult",
    "RunSpec",
    "compare",
    "evaluate_run",
    "hookimpl",
    "import_checkpoint",
    "import_features",
    "load_part",
    "load_spec",
    "load_sweep",
    "run",
    "run_sweep",
    "score_files",
    "sweep_results",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
