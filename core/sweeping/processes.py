"""The processes of the trials: each runs `capfw run` on its share of the machine, with its output in a log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .planning import PlannedTrial

_THREADS = "OMP_NUM_THREADS"
_GPUS = "CUDA_VISIBLE_DEVICES"
_MOST_LINES = 30


class Workers:
    """Shares out the machine to `jobs` processes: CPU threads divided, and a GPU each, in turn where there are fewer.

    A single process gets the whole machine, and so does each of several if the user has set OMP_NUM_THREADS.
    """

    def __init__(self, jobs: int, gpus: Sequence[str]) -> None:
        self.jobs, self.gpus = jobs, gpus if jobs > 1 else ()
        self._free = list(range(jobs))

    def take(self) -> int:
        """The number of a free worker, the lowest one."""
        return self._free.pop(self._free.index(min(self._free)))

    def release(self, worker: int) -> None:
        """Makes a worker free again."""
        self._free.append(worker)

    def environment(self, worker: int) -> dict[str, str]:
        """The environment variables that give a worker its share of the machine."""
        shares = {}
        if self.jobs > 1 and _THREADS not in os.environ:
            shares[_THREADS] = str(max(1, _num_cpus() // self.jobs))
        if self.gpus:
            shares[_GPUS] = self.gpus[worker % len(self.gpus)]
        return shares

    def in_words(self, worker: int) -> str:
        """The GPU of a worker, for messages; empty where it has none of its own."""
        return f"GPU {self.gpus[worker % len(self.gpus)]}" if self.gpus else ""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. It imports torch."""
    import torch

    named = [name.strip() for name in os.environ.get(_GPUS, "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(index) for index in range(count)]


def _num_cpus() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Launch:
    """The options that every trial's command has: the device, and the plugins that are left out."""

    device: str | None = None
    skip: Sequence[str] = ()

    @property
    def may_use_gpus(self) -> bool:
        """Whether the trials may be shared out to GPUs: not where the device is the CPU or one certain GPU."""
        return self.device in (None, "cuda")

    def command(self, spec_file: Path) -> list[str]:
        """The command of a trial."""
        left_out = [word for name in self.skip for word in ("--no-plugin", name)]
        device = [] if self.device is None else ["--device", self.device]
        return [sys.executable, "-m", "capfw", *left_out, "run", str(spec_file), *device]


class TrialProcess:
    """The running process of one trial. Its output is appended to a log."""

    def __init__(
        self, planned: PlannedTrial, worker: int, command: Sequence[str], log: Path, share: Mapping[str, str]
    ) -> None:
        self.planned, self.worker = planned, worker
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._begin = log, log.stat().st_size if log.is_file() else 0
        self._started = time.monotonic()
        self._is_signalled = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **share},
                start_new_session=True,  # Ctrl-C on the terminal reaches only the sweep, which signals each trial once
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.poll()

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self._started

    def interrupt(self) -> None:
        """Sends the signal that ends training after a checkpoint. Only once: a second one would end it at once."""
        if not self._is_signalled:
            self._is_signalled = True
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends the process and those that it started, and waits for its end."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def error(self) -> str:
        """The error with which the process ended: its last message, or the signal that killed it."""
        code = self._process.poll() or 0
        if code < 0:
            name = signal.Signals(-code).name
            hint = " Perhaps the memory did not suffice." * (name == "SIGKILL")
            return f"the process was killed by {name}.{hint}"
        with self._log.open("rb") as output:
            output.seek(self._begin)
            text = output.read().decode(errors="replace")
        return last_message(text) or f"the process ended with exit code {code} and without a message."


def last_message(text: str) -> str:
    """The last line that is not indented, with the indented lines behind it: the form of all our errors."""
    lines = text.rstrip().splitlines()[-_MOST_LINES:]
    begin = next((i for i in range(len(lines) - 1, -1, -1) if lines[i] and not lines[i][0].isspace()), 0)
    return "\n".join(lines[begin:])
