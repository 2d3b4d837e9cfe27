"""Completion in the shell: in bash itself, and of the names of components without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent
COMPLETE = """
eval "$(_CAPFW_COMPLETE=bash_source capfw)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_capfw_completion capfw
echo "${COMPREPLY[*]}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["ini"], "init"),
        (["init", "--enc"], "--encoder"),
        (["init", "--encoder", "c"], "clip"),
        (["init", "--data", "ka"], "karpathy"),
        (["plugins", "show", "perc"], "perceiver"),
        (["new", "plugin", "capfw-mine", "--kind", "lo"], "logger"),
        (["import", "checkpoint", "a.pt", "run", "--format", "gpt2-im"], "gpt2-image-captioning"),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(words: list[str], completed: str) -> None:
    if not (PROGRAMS / "capfw").is_file():
        pytest.skip("needs the program capfw beside the Python that runs the tests")
    environ = {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    environ.pop("CAPFW_PLUGINS", None)
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "capfw", *words], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [completed]


def test_names_are_completed_without_torch() -> None:
    code = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom capfw.cli import main\n"
        "found = ShellComplete(main, {}, 'capfw', '_CAPFW_COMPLETE').get_completions(['init', '--encoder'], '')\n"
        "print(*(each.value for each in found), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *names, has_torch = done.stdout.split()
    assert {"clip", "dinov3", "timm", "vit"} <= set(names)
    assert names == sorted(names)
    assert has_torch == "False"
