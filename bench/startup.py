"""Times the start of light commands, and an import of torch for comparison.

python bench/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.json"
COMMANDS = {
    "capfw --help": ["-m", "capfw", "--help"],
    "capfw plugins": ["-m", "capfw", "plugins"],
    "capfw validate": ["-m", "capfw", "validate", str(QUICKSTART)],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str], repeats: int = 5) -> float:
    """Returns the median wall time of a fresh interpreter, after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    """Prints one line per command."""
    for name, arguments in COMMANDS.items():
        print(f"{name:<16} {seconds(arguments):.2f} s")


if __name__ == "__main__":
    main()
