"""Writes a new plugin package from templates: one working component, its tests, and a spec that uses it."""

from __future__ import annotations

import ast
import keyword
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from ..errors import PluginError, choices

if TYPE_CHECKING:
    from ..protocols import Kind
    from ..registry import Registry

_TEMPLATES = Path(__file__).with_name("templates") / "plugin"
PLUGIN_KINDS = tuple(sorted(folder.name for folder in _TEMPLATES.iterdir() if folder.name != "common"))
"""The kinds of component with a template: all of them."""
_SUFFIX = ".template"  # so that no tool treats a template as a module
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "capfw-"


@dataclass(frozen=True)
class PluginNames:
    """The names of a new plugin: "capfw-tiny-eye", "capfw_tiny_eye", "tiny-eye" and "TinyEye"."""

    distribution: str
    package: str
    component: str
    class_name: str

    @classmethod
    def of(cls, distribution: str) -> PluginNames:
        """Derives all names from the name of the distribution; the component's name has no "capfw-".

        Raises `PluginError` for an invalid package name, and for the name of one of Python's own modules.
        """
        component = distribution.removeprefix(_PREFIX)
        if not (_NAME.fullmatch(distribution) and _NAME.fullmatch(component)):
            raise _not_a_name(distribution)
        package = distribution.replace("-", "_")
        class_name = "".join(word.capitalize() for word in component.split("-"))
        if package == "capfw" or keyword.iskeyword(package) or package in sys.stdlib_module_names:
            whose = "this framework" if package == "capfw" else "Python itself"
            fix = "Write capfw-NAME." if package == "capfw" else f"Write {_PREFIX}{distribution}."
            raise PluginError(f'"{distribution}" is taken by {whose}.', where="NAME", fix=fix)
        if keyword.iskeyword(class_name):  # "none" would make a class None
            what = f'"{component}" gives the class name {class_name}, a keyword of Python.'
            raise PluginError(what, where="NAME", fix="Choose another name.")
        return cls(distribution, package, component, class_name)


@dataclass(frozen=True)
class NewPlugin:
    """A new package: its folder, names and files."""

    folder: Path
    names: PluginNames
    files: tuple[Path, ...]


def new_plugin(distribution: str, kind: Kind, *, registry: Registry, output: Path | None = None) -> NewPlugin:
    """Writes the package into the folder `distribution` in `output`, by default the working directory.

    Raises `PluginError`, and writes nothing, for a bad or taken name, an unknown kind, or a folder that exists.
    """
    names = PluginNames.of(distribution)
    if kind not in PLUGIN_KINDS:
        fix = choices("Known", PLUGIN_KINDS, kind)
        raise PluginError(f'there is no template for kind "{kind}".', where="--kind", fix=fix)
    folder = (output or Path()).resolve() / distribution
    contents = _render(names, kind)
    _require_free_class_names(names, contents)
    _require_free_names(names, contents, registry)
    try:
        folder.mkdir(parents=True)
    except FileExistsError as err:
        raise PluginError(
            "this folder exists already.", where=str(folder), fix="Choose another name, or add --output FOLDER."
        ) from err
    except OSError as err:
        what = f"the folder cannot be created: {err.strerror}."
        raise PluginError(what, where=str(folder), fix="Name another --output.") from err
    for file, text in contents.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    return NewPlugin(folder, names, tuple(folder / file for file in contents))


def _render(names: PluginNames, kind: Kind) -> dict[Path, str]:
    """Text by path in the package. PACKAGE and COMPONENT in a template's path are replaced by names.

    A template of the kind takes the place of the common one of the same path.
    """
    from importlib.metadata import version

    from ..protocols import KINDS

    values = {
        **vars(names),
        "kind": kind,
        "kind_in_words": KINDS[kind].with_article,
        "capfw_version": version("capfw"),
    }
    roots = (_TEMPLATES / "common", _TEMPLATES / kind)
    templates = {
        file.relative_to(root).as_posix(): file for root in roots for file in sorted(root.rglob(f"*{_SUFFIX}"))
    }
    contents = {}
    for place, template in templates.items():
        path = place.removesuffix(_SUFFIX).replace("PACKAGE", names.package)
        path = path.replace("COMPONENT", names.component.replace("-", "_"))
        if Path(path) in contents:
            raise _is_taken(names, f"the file {path}, which every plugin has")
        contents[Path(path)] = Template(template.read_text(encoding="utf-8")).substitute(values)
    return contents


def _require_free_class_names(names: PluginNames, contents: dict[Path, str]) -> None:
    """Raises `PluginError` if a new class would have the name of an object that the package imports."""
    for path, text in contents.items():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ImportFrom) or (node.module or names.package).split(".")[0] == names.package:
                continue
            for imported in {alias.name for alias in node.names} & {names.class_name, f"{names.class_name}Config"}:
                raise _is_taken(names, f"a class {imported}, which it also imports from {node.module}")


def _is_taken(names: PluginNames, what: str) -> PluginError:
    fix = f"Write {names.distribution}-NAME, with your own word for NAME."
    return PluginError(f'"{names.component}" would create {what}.', where="NAME", fix=fix)


def _require_free_names(names: PluginNames, contents: dict[Path, str], registry: Registry) -> None:
    """Raises `PluginError` if an installed plugin or package already has one of the names."""
    from ..protocols import KINDS

    for kind, row in KINDS.items():
        plugin = registry.provider(kind, names.component)
        if plugin is None or not any(f"def {row.hook}(" in text for text in contents.values()):
            continue
        raise PluginError(
            f'the {kind} name "{names.component}" is taken by plugin "{plugin.name}" of '
            f"{plugin.distribution or 'no package'}: with both installed, neither could be used.",
            where="NAME",
            fix=f"Choose another, such as {names.distribution}-NAME, or uninstall that plugin.",
        )
    if find_spec(names.package) is not None:
        raise PluginError(
            f"a package called {names.package} is installed; installing the new one would replace it.",
            where="NAME",
            fix=f"Choose another, such as {names.distribution}-NAME.",
        )


def _not_a_name(distribution: str) -> PluginError:
    spelt = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", distribution).lower()).strip("-")
    is_name = spelt != "capfw" and _NAME.fullmatch(spelt) and _NAME.fullmatch(spelt.removeprefix(_PREFIX))
    also = f", also behind {_PREFIX}" if distribution.startswith(_PREFIX) else ""
    return PluginError(
        f'"{distribution}" is not a valid package name: use small letters, digits and single hyphens, a letter first{also}.',
        where="NAME",
        fix=f"Write {spelt}." if is_name else "Write something like capfw-tiny-eye.",
    )
