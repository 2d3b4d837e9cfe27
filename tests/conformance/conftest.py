"""Makes the toy plugins importable by name, as installed ones are: they are pickled, and imported by other processes."""

from __future__ import annotations

import sys
from pathlib import Path

TOYS = str(Path(__file__).with_name("toys"))
if TOYS not in sys.path:
    sys.path.append(TOYS)
