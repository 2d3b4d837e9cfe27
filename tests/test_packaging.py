"""The wheel holds all of the tree: listed packages, entry points, files."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PARTS = ("commands", "core", "plugins")
FILES = ("pyproject.toml", "README.md", "LICENSE", "py.typed")


def dotted(folder: Path) -> str:
    return ".".join(("capfw", *folder.relative_to(ROOT).parts))


def test_listed_packages_are_those_of_the_tree() -> None:
    tree = {dotted(file.parent) for part in PARTS for file in (ROOT / part).rglob("__init__.py")}

    listed = PROJECT["tool"]["setuptools"]["packages"]

    assert set(listed) == tree | {"capfw"}
    assert len(listed) == len(set(listed))


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {file.parent for part in PARTS for file in (ROOT / part).rglob("*.py")}

    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_image_is_built_from_what_the_wheel_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {*PARTS, *FILES, "*.py"}


def test_every_plugin_is_announced() -> None:
    folders = {file.parent for file in (ROOT / "plugins").glob("*/*/__init__.py")}
    plugins = {dotted(folder) for folder in folders if folder.parent.name != "libraries"}  # those register nothing

    assert set(PROJECT["project"]["entry-points"]["capfw"].values()) == plugins


def test_wheel_holds_exactly_the_files_of_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}

    files = {file for part in PARTS for file in (ROOT / part).rglob("*") if file.is_file()}  # templates too
    files = {file for file in files if "__pycache__" not in file.parts}
    tree = {*ROOT.glob("*.py"), ROOT / "py.typed", *files}
    assert inside == {f"capfw/{file.relative_to(ROOT).as_posix()}" for file in tree}
