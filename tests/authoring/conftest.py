"""A virtual environment of its own, with capfw installed from a wheel, into which tests install plugin packages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., None]


@pytest.fixture(scope="session")
def run_in_environment(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """run("capfw", "plugins", cwd=...): runs a program of the fresh environment, and fails the test unless it exits 0.

    `code` is the exit code to expect. The heavy libraries come from the running environment, through a .pth file.
    """
    if importlib.util.find_spec("pip") is None:
        pytest.skip("needs pip in the environment that runs the tests")
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)  # without pip it has no setuptools of its own either
    [packages] = folder.glob("lib/python*/site-packages")
    outer = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "outer.pth").write_text("\n".join(outer), encoding="utf-8")
    environ = {name: value for name, value in os.environ.items() if name not in ("CAPFW_PLUGINS", "PYTHONPATH")}
    environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"}

    def run(
        program: str, *arguments: object, cwd: Path | None = None, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [folder / "bin" / program, *map(str, arguments)],
            cwd=cwd or folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def install(run_in_environment: Run, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """install(folder, ...): installs packages from their sources, capfw itself being there already."""

    def install(*sources: Path) -> None:
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-compile")
        run_in_environment("python", "-m", "pip", "install", *options, *sources)

    copy = tmp_path_factory.mktemp("capfw-source")  # building writes beside the sources, so not in the repository
    for part in ("commands", "core", "plugins"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*ROOT.glob("*.py"), *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE", "py.typed"))):
        shutil.copy(file, copy)
    install(copy)
    return install
