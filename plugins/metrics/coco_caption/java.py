"""Finds Java, checks its version, and runs Java programs with a time limit."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import files
from pathlib import Path
from threading import Event, Timer
from typing import IO

from ....core.protocols import CapfwError, MissingLibrary


def package_file(name: str) -> Path:
    """Returns the path of a file in the installed pycocoevalcap, which need not exist."""
    anchor = next(file for file in files("pycocoevalcap") or [] if file.parts[-2:] == ("bleu", "bleu.py"))
    return Path(str(anchor.locate())).parents[1] / name


def find_java(java: str, *, metric: str, versions: range) -> tuple[str, int]:
    """Returns the path and major version of the Java program `java`.

    Raises `MissingLibrary` when there is none, or when its version is not among `versions`.
    """
    newest = "or newer" if versions.stop > 99 else f"to {versions.stop - 1}"
    wanted = f"metric {metric} runs a Java program and needs Java {versions.start} {newest}"
    fix = 'Install one, or name it: "java": "/path/to/bin/java". The metrics bleu, rouge-l and cider need no Java.'
    path = shutil.which(java)
    if path is None:
        raise MissingLibrary(f'{wanted}, but there is no program "{java}".', option="java", fix=fix)
    done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)  # "1.8.0_422", "17.0.15"
    if found is None or int(found[1]) not in versions:
        problem = f"is Java {found[1]}" if found else "does not report a Java version"
        raise MissingLibrary(f"{wanted}, but {path} {problem}.", option="java", fix=fix)
    return path, int(found[1])


@contextmanager
def java_process(
    command: Sequence[str], *, metric: str, timeout_seconds: float, cwd: Path
) -> Iterator[tuple[IO[str], IO[str]]]:
    """Runs `command` and yields its standard input and output (UTF-8 lines).

    The process ends with the block, also after an exception. Raises `CapfwError` when the program runs longer than
    `timeout_seconds`, stops early or fails, with the last lines of its standard error.
    """
    too_late = Event()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, encoding="utf-8", cwd=cwd
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None

        def stop() -> None:
            too_late.set()
            process.kill()

        timer = Timer(timeout_seconds, stop)
        timer.start()
        try:
            yield process.stdin, process.stdout
            process.stdin.close()
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
            last = [line.rstrip() for line in complaints if line.strip()][-5:]
            raise CapfwError(f"the Java program of metric {metric} failed: {err}.", fix="\n".join(last)) from err
        finally:
            timer.cancel()
            process.kill()
            with suppress(OSError):  # a dead program cannot read the rest of its input
                process.stdin.close()
