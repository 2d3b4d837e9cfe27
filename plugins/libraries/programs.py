"""Runs another program with a time limit. No torch."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Timer
from typing import IO

from ...core.protocols import CapfwError

NUM_LINES = 5  # of standard error, in messages


@contextmanager
def running_program(
    command: Sequence[str],
    *,
    metric: str,
    timeout_seconds: float,
    cwd: Path,
    kind: str = "program",
    given: IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Runs `command`, the `kind` of a metric, without a shell, and yields the process (UTF-8 lines).

    Its standard input is the file `given`, or a pipe. The process ends with the block, also after an exception, and on POSIX
    the processes that it started end too. Raises `CapfwError` when the program cannot be started, runs longer than
    `timeout_seconds`, stops early or fails, with the last lines of its standard error.
    """
    too_late = Event()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        try:
            process = subprocess.Popen(
                command,
                stdin=given or subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                encoding="utf-8",
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as err:
            raise CapfwError(
                f"the {kind} of metric {metric} cannot be started: {err.strerror or err}.",
                fix=f"Check that {command[0]} can be executed.",
            ) from err

        def stop() -> None:
            too_late.set()
            _kill(process)

        timer = Timer(timeout_seconds, stop)
        timer.start()
        try:
            yield process
            if process.stdin is not None:
                process.stdin.close()
            assert process.stdout is not None
            process.stdout.read()
            if process.wait() != 0:
                raise ChildProcessError(f"it ended with code {process.returncode}")
        except (OSError, EOFError, ValueError) as err:
            if too_late.is_set():
                raise CapfwError(
                    f"metric {metric} did not finish within timeout_seconds = {timeout_seconds:g} and was stopped.",
                    fix="Raise timeout_seconds, or score fewer images.",
                ) from err
            complaints.seek(0)
            last = [line.rstrip() for line in complaints if line.strip()][-NUM_LINES:]
            raise CapfwError(f"the {kind} of metric {metric} failed: {err}.", fix="\n".join(last)) from err
        finally:
            timer.cancel()
            _kill(process)
            with suppress(OSError):  # a dead program cannot read the rest of its input
                process.__exit__(None, None, None)


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends the process and, on POSIX, those that it started: without them, a pipe would stay open."""
    if os.name != "posix":
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
