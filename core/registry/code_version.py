"""The code behind a component as a short text: a hash of local sources, or the declared revision of a release."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import all_suffixes
from pathlib import Path

from ..errors import PluginError
from ..protocols import Component, Kind
from ..protocols.hookspecs import PROJECT

UNKNOWN = "unknown"


def code_version(component: Component) -> str:
    """The version of the component's code. Equal texts mean equal results, as far as the code shows it.

    A component of an installed release has `"DISTRIBUTION revision N"` with its declared revision, so an upgrade alone
    changes nothing. Any other component (an editable or local install, a checkout, a script, a plugin object) has
    `"code HASH"`. The hash covers the Python sources in the folder of its target, and the modules that they import from
    their own top-level package and from the plugins of capfw. Comments, docstrings and formatting do not change it, but
    the minor version of Python does. A class without source has `"unknown"`.

    The sources are read from the disk, not from memory, so start a new process after you edit a plugin.
    Raises `PluginError` when a source cannot be read.
    """
    module, _, class_name = component.target.partition(":")
    file = _file_of(module)
    if file is None:
        forms = {module: source} if (source := _source_of_class(module, class_name)) else {}
    elif release := _release_that_owns(file):
        return f"{release} revision {component.revision}"
    else:
        forms = _forms(module, file)
    if not forms:
        return UNKNOWN
    digest = hashlib.sha256(component.target.encode())
    for name, form in sorted(forms.items()):
        digest.update(f"\0{name}\0{form}".encode())
    return f"code {digest.hexdigest()[:32]}"


def code_of(components: Iterable[tuple[Kind, Component]]) -> dict[str, str]:
    """The code version of each component, by "kind name", as a run records it. Pass `RunSpec.components` for a spec.

    Raises `PluginError` as `code_version` does.
    """
    return {f"{kind} {component.name}": code_version(component) for kind, component in components}


def changed_code(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The components ("encoder clip") whose code differs from the recorded code, sorted.

    A component that only one side names is left out.
    """
    return sorted(name for name in recorded.keys() & now.keys() if recorded[name] != now[name])


def _file_of(module: str) -> Path | None:
    """The file of a module (for a package, its `__init__.py`), found without importing it or its parents."""
    if module == "__main__":
        script = getattr(sys.modules[module], "__file__", None)
        return Path(script).resolve() if script and Path(script).is_file() else None
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module that was created in memory has no spec
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        places = [Path(spec.origin)] if spec.origin and not rest else []
    else:
        bases = [Path(location, *rest) for location in spec.submodule_search_locations]
        places = [base / "__init__.py" for base in bases]
        places += [base.with_name(base.name + suffix) for base in bases if rest for suffix in all_suffixes()]
    # Resolve the folder, not the file: an installer may have linked each file to its cache.
    return next((place.parent.resolve() / place.name for place in places if place.is_file()), None)


def _release_that_owns(file: Path) -> str | None:
    """The distribution that installed this file as a release; None for a local or unpublished install."""
    for distribution in importlib.metadata.distributions():
        site = Path(str(distribution.locate_file(""))).resolve()
        # Searching the text takes 20 ms in an environment of 100 packages; parsing it takes longer.
        if file.is_relative_to(site) and f"\n{file.relative_to(site).as_posix()}," in (
            "\n" + (distribution.read_text("RECORD") or "")
        ):
            name = re.sub(r"[-_.]+", "-", distribution.name).lower()
            return name if _is_release(distribution.read_text("direct_url.json")) else None
    return None


def _is_release(direct_url: str | None) -> bool:
    """Whether an install came from an index or a built archive, not from a folder or a commit (PEP 610)."""
    try:
        return direct_url is None or "archive_info" in json.loads(direct_url)
    except (ValueError, TypeError):
        return False


def _source_of_class(module: str, class_name: str) -> str | None:
    """The source of a class without a file, or of its methods (as in a notebook); None when there is none."""
    found = getattr(sys.modules.get(module), class_name, None)
    if not isinstance(found, type):
        return None
    try:
        return _normal_form(inspect.getsource(found))
    except (OSError, TypeError):
        pass
    try:
        methods = {name: inspect.getsource(each) for name, each in vars(found).items() if inspect.isfunction(each)}
    except (OSError, TypeError):
        return None
    return "\0".join(f"{name} {_normal_form(text)}" for name, text in sorted(methods.items()))


def _forms(module: str, file: Path) -> dict[str, str]:
    """The normal form of every module that the hash of a target covers, by dotted name."""
    forms: dict[str, str] = {}
    waiting = dict(_beside(module, file))
    while waiting:
        name, path = waiting.popitem()
        source = _read(path)
        forms[name] = _normal_form(source)
        for imported in _imports(source, name, is_package=path.name == "__init__.py"):
            found = _modules_of(imported, importer=name) if _counts(imported, module) else {}
            waiting |= {each: place for each, place in found.items() if each not in forms}
    return forms


def _beside(module: str, file: Path) -> Iterator[tuple[str, Path]]:
    """The target's module and the other sources in its folder; without a package, only the module."""
    yield module, file
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    if package:
        for path in file.parent.glob("*.py"):
            yield package if path.name == "__init__.py" else f"{package}.{path.stem}", path


def _counts(imported: str, target: str) -> bool:
    """Whether an imported module counts as the component's code: in its top-level package, or in the plugins of capfw."""
    top = imported.partition(".")[0]
    return imported.startswith(f"{PROJECT}.plugins.") if top == PROJECT else top == target.partition(".")[0]


def _modules_of(imported: str, *, importer: str) -> dict[str, Path]:
    """The modules of an import: one file, or a whole folder unless the importer is inside it."""
    file = _file_of(imported)
    if file is None:
        return {}
    if file.name != "__init__.py" or f"{importer}.".startswith(f"{imported}."):
        return {imported: file}
    inside = {path: path.relative_to(file.parent).with_suffix("").parts for path in file.parent.rglob("*.py")}
    return {".".join((imported, *parts)).removesuffix(".__init__"): path for path, parts in inside.items()}


def _imports(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """The dotted names of the modules that a source imports, at any place in it."""
    tree = _parsed(source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")
            above = parents[: max(0, len(parents) - node.level + is_package)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:  # a name may be a module, or be defined in the package
                part = f"{base}.{alias.name}"
                yield part if _counts(part, module) and _file_of(part) else base


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise PluginError(
            f"this source file of a component cannot be read: {err.strerror or err}.",
            where=str(path),
            fix="Make it readable, or reinstall its package.",
        ) from err


def _parsed(source: bytes) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape concerns only the plugin's author
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


class _Bare(ast.NodeTransformer):
    """Removes the statements without effect: docstrings, other string statements, `pass`."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Pass(self, node: ast.Pass) -> None:
        return None


def _normal_form(source: bytes | str) -> str:
    """The source without statements, comments and layout that change nothing. Text that is not Python stays unchanged."""
    as_bytes = textwrap.dedent(source).encode() if isinstance(source, str) else source
    tree = _parsed(as_bytes)
    try:
        return ast.dump(_Bare().visit(tree)) if tree else as_bytes.hex()
    except RecursionError:  # a sum or an if-else chain of hundreds of terms
        return as_bytes.hex()
