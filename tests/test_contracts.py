"""The arrows between packages: import-linter's contracts hold, cover every module, and can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {contract["id"]: contract for contract in SETTINGS["tool"]["importlinter"]["contracts"]}
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--config", ROOT / "pyproject.toml", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def core_modules() -> set[str]:
    files = {f"capfw.core.{file.stem}" for file in (ROOT / "core").glob("*.py") if file.stem != "__init__"}
    return files | {f"capfw.core.{folder.parent.name}" for folder in (ROOT / "core").glob("*/__init__.py")}


def test_contracts_hold() -> None:
    done = lint()
    assert done.returncode == 0, done.stdout + done.stderr


def test_contracts_name_every_module_of_core() -> None:
    layers = {name.strip() for layer in CONTRACTS["arrows"]["layers"] for name in layer.split("|")}
    hidden_from_plugins = set(CONTRACTS["plugins-see-protocols"]["forbidden_modules"])
    root = {"capfw.cli", "capfw.commands", "capfw.__main__"}

    assert layers == core_modules() | root
    under_plugins = {"capfw.core.protocols", "capfw.core.options", "capfw.core.errors"}
    assert hidden_from_plugins == (core_modules() | root) - under_plugins


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        ("arrows", "core/errors.py", "from . import spec"),
        ("arrows", "core/registry/registry.py", "from ..engine import run"),
        ("core-knows-no-plugin", "core/spec/settings.py", "from ...plugins.mappers import mlp"),
        ("plugins-see-protocols", "plugins/mappers/mlp/model.py", "from ....core.registry import Registry"),
        ("plugins-see-protocols", "plugins/libraries/clipcap.py", "from ...core.engine import run"),
        ("plugins-are-strangers", "plugins/mappers/mlp/model.py", "from ..transformer import model"),
        ("plugins-are-strangers", "plugins/metrics/clip_score/model.py", "from ...encoders.clip import ClipConfig"),
        (
            "libraries-know-no-plugin",
            "plugins/libraries/open_clip/finder.py",
            "from ...encoders.clip import ClipConfig",
        ),
    ],
)
def test_contract_catches(contract: str, file: str, line: str, tmp_path: Path) -> None:
    package = tmp_path / "capfw"
    package.mkdir()
    for name in ("commands", "core", "plugins"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for module in ROOT.glob("*.py"):
        shutil.copy(module, package)
    with (package / file).open("a", encoding="utf-8") as written:
        written.write(f"\n{line}\n")

    done = lint("--contract", contract, PYTHONPATH=str(tmp_path))

    assert done.returncode == 1
    assert f"{CONTRACTS[contract]['name']} BROKEN" in done.stdout


def test_contracts_name_every_kind_of_plugin() -> None:
    kinds = {file.parent.name for file in (ROOT / "plugins").glob("*/__init__.py")} - {"libraries"}

    assert {name.split(".")[2] for name in CONTRACTS["plugins-are-strangers"]["modules"]} == kinds
    forbidden = CONTRACTS["libraries-know-no-plugin"]["forbidden_modules"]
    assert {name.split(".")[2] for name in forbidden} == kinds


def test_core_and_light_halves_load_nothing_heavy() -> None:
    """Outside core.engine and core.conformance nothing imports torch; a plugin's light half not even numpy or PIL."""
    core = sorted(core_modules() - {"capfw.core.engine", "capfw.core.conformance"})
    light = [
        file.parent for file in (ROOT / "plugins").glob("*/*/__init__.py") if file.parent.parent.name != "libraries"
    ]
    plugins = sorted(".".join(("capfw", *folder.relative_to(ROOT).parts)) for folder in light)
    heavy = ["torch", "torchvision", "transformers", "timm", "open_clip", "accelerate", "peft", "pycocoevalcap"]
    code = (
        "import importlib, sys\n"
        f"for name in {plugins}: importlib.import_module(name)\n"
        f"print(sorted({{'numpy', 'PIL', *{heavy}}} & set(sys.modules)))\n"
        f"for name in {core}: importlib.import_module(name)\n"
        f"print(sorted(set({heavy}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout.splitlines() == ["[]", "[]"], done.stdout + done.stderr
    assert "capfw.plugins.mappers.mlp" in plugins
