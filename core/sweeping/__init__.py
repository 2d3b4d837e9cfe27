"""Sweeps: many runs of one base spec with other values. Reads a sweep file, starts the runs, and ranks the settings.

It imports no torch: each trial is a process of its own (`capfw run`).
"""

from .records import Trial
from .results import SettingResult, SweepResults, TrialResult, sweep_results
from .running import run_sweep
from .sources import plan_sweep
from .sweep_spec import Range, Sweep, load_sweep

__all__ = [
    "Range",
    "SettingResult",
    "Sweep",
    "SweepResults",
    "Trial",
    "TrialResult",
    "load_sweep",
    "plan_sweep",
    "sweep_results",
    "run_sweep",
]
