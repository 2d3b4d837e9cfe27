"""Finds Java, checks its version, and runs Java programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import IO

from ....core.protocols import MissingLibrary
from ...libraries.programs import running_program


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
    """Runs `command` as `running_program` does, and yields its standard input and output."""
    with running_program(
        command, metric=metric, timeout_seconds=timeout_seconds, cwd=cwd, kind="Java program"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout
