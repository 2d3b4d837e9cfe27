"""Imports the object that an entry point names, and describes the cause of a failure."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from importlib.metadata import Distribution, EntryPoint
from typing import TextIO

from ..errors import PluginError, suggestion


def stdout_aside() -> contextlib.redirect_stdout[TextIO]:
    """Redirects prints to stderr, so that the output of a plugin does not mix with results."""
    return contextlib.redirect_stdout(sys.stderr)


def find_entry_points(group: str) -> tuple[list[EntryPoint], list[tuple[Distribution, str]]]:
    """The entry points of a group, sorted by name, and each distribution with unreadable entry points and the cause."""
    try:
        return sorted(importlib.metadata.entry_points(group=group), key=lambda point: point.name), []
    except Exception:  # after one malformed entry_points.txt, in any package, Python returns no entry points at all
        points, unreadable, seen = [], [], set()
    for distribution in importlib.metadata.distributions():
        if distribution.name in seen:  # an older copy, later on the path
            continue
        seen.add(distribution.name)
        try:
            points += list(distribution.entry_points.select(group=group))
        except Exception as err:
            if group in (distribution.read_text("entry_points.txt") or ""):
                unreadable.append((distribution, f"its entry_points.txt cannot be read: {in_words(err)}"))
    return sorted(points, key=lambda point: point.name), unreadable


def load(point: EntryPoint) -> object:
    """The module or attribute that an entry point names. Raises `PluginError` with the cause in words."""
    try:
        module_name, attribute = point.module, point.attr
    except AttributeError as err:
        raise PluginError(f'its entry point "{point.value}" is not "package.module" or "package.module:name"') from err
    try:
        loaded: object = importlib.import_module(module_name)
        for name in attribute.split(".") if attribute else ():
            if not hasattr(loaded, name):
                known = vars(loaded) if hasattr(loaded, "__dict__") else ()
                what = f"its entry point names {point.value}, but {module_name} has no {name}"
                raise PluginError(f"{what}. {suggestion(name, known)}".rstrip(". "))
            loaded = getattr(loaded, name)
    except (KeyboardInterrupt, PluginError):
        raise
    except ModuleNotFoundError as err:
        raise PluginError(_what_is_missing(err, module_name)) from err
    except BaseException as err:  # a third party's module may raise anything, even SystemExit
        raise PluginError(f"importing {module_name} failed: {in_words(err)}") from err
    return loaded


def in_words(err: BaseException) -> str:
    """The type, message and line of an exception; for a `PluginError`, only the message."""
    if isinstance(err, PluginError):
        return str(err)
    try:
        text = str(err)
    except Exception:  # a third party's `__str__` may fail
        text = ""
    said = f"{type(err).__name__}: {text}" if text else type(err).__name__
    frames = [f for f in traceback.extract_tb(err.__traceback__) if "importlib" not in f.filename]
    is_strangers = bool(frames) and not frames[-1].filename.startswith(os.path.dirname(os.path.dirname(__file__)))
    if isinstance(err, SyntaxError) or not is_strangers:
        return said
    return f"{said} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})"


def _what_is_missing(err: ModuleNotFoundError, module_name: str) -> str:
    missing = err.name or ""
    library = missing.partition(".")[0]
    if not missing:
        return f"importing {module_name} failed: {in_words(err)}"
    if f"{module_name}.".startswith(f"{missing}."):
        return f"its entry point names the module {module_name}, but there is no {missing}; reinstall the package"
    if library == module_name.partition(".")[0]:
        return f"its own module {missing} is missing; reinstall the package"
    if library == "capfw":
        version = importlib.metadata.version("capfw")
        return f"it needs {missing}, which capfw {version} does not have: install a version that fits capfw {version}"
    if library != missing and importlib.util.find_spec(library):
        return f'it needs {missing}, which the installed library "{library}" does not have: pip install -U {library}'
    return f'it needs the library "{library}", which is not installed: pip install {library}'
