"""Imports what an entry point names, within a time limit, and says in words why that failed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint
from types import FrameType
from typing import TextIO

from .errors import PluginError, nearest

LIMIT_VARIABLE = "CAPFW_IMPORT_SECONDS"
_LIMIT_SECONDS = 30.0
_NOTICE_SECONDS = 5.0
_ASIDE = threading.Lock()
_num_aside = 0  # threads in `stdout_aside`, and the stdout they share
_stdout: TextIO | None = None


class _TooLong(BaseException):
    """Raised by the alarm. No `Exception`, so that a plugin's own `except Exception` does not stop it."""


def import_limit() -> float:
    """Seconds that one plugin may take to load: CAPFW_IMPORT_SECONDS, or 30. Raises `PluginError`."""
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return _LIMIT_SECONDS
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise PluginError(f'"{text}" is not a number of seconds.', where=LIMIT_VARIABLE, fix="Set it to 60, for example.")


@contextlib.contextmanager
def time_limit(what: str, seconds: float) -> Iterator[None]:
    """Says on stderr what is waited for, and raises `PluginError` once it has taken `seconds`.

    Only the main thread of a POSIX system can be interrupted, and only while the alarm is free; elsewhere the notice
    is all there is. Code that never returns to Python (a loop in C) is not interrupted either.
    """
    hint = "Ctrl-C ends it; --no-plugin NAME or CAPFW_PLUGINS leaves a plugin out."
    notice = threading.Timer(_NOTICE_SECONDS, _tell, [f"capfw: {what} is taking long. {hint}\n"])
    notice.daemon = True
    notice.start()
    try:
        with _alarm(seconds):
            yield
    except _TooLong:
        raise PluginError(f"{what} took longer than {seconds:g} s ({LIMIT_VARIABLE} sets the limit)") from None
    finally:
        notice.cancel()


@contextlib.contextmanager
def stdout_aside() -> Iterator[None]:
    """What is printed goes to stderr, so that it does not mix with results.

    Several threads may be inside at once: the last to leave restores stdout. (`contextlib.redirect_stdout` gives each
    what it found, and so can leave the whole process without its stdout.)
    """
    global _num_aside, _stdout
    with _ASIDE:
        if _num_aside == 0:
            _stdout, sys.stdout = sys.stdout, sys.stderr
        _num_aside += 1
    try:
        yield
    finally:
        with _ASIDE:
            _num_aside -= 1
            if _num_aside == 0:
                sys.stdout, _stdout = _stdout, None


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "setitimer") or any(signal.getitimer(signal.ITIMER_REAL)):
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            # It rings again every second: the first one may be lost in a bare `except` or a finalizer.
            signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # again: it may ring at the very end, before it is switched off
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def find_entry_points(group: str) -> tuple[list[EntryPoint], list[tuple[Distribution, str]]]:
    """The entry points of a group, by name, and the distributions whose list of them cannot be read, with the cause."""
    try:
        return sorted(importlib.metadata.entry_points(group=group), key=lambda point: point.name), []
    except Exception:  # one malformed entry_points.txt, of whatever package, and Python gives none at all
        points, unreadable, seen = [], [], set()
    for distribution in importlib.metadata.distributions():
        if distribution.name in seen:  # an older copy, further down the path
            continue
        seen.add(distribution.name)
        try:
            points += list(distribution.entry_points.select(group=group))
        except Exception as err:
            if group in (distribution.read_text("entry_points.txt") or ""):
                unreadable.append((distribution, f"its entry_points.txt cannot be read: {in_words(err)}"))
    return sorted(points, key=lambda point: point.name), unreadable


def load(point: EntryPoint) -> object:
    """The module or attribute an entry point names. Raises `PluginError` with the cause in words."""
    try:
        module_name, attribute = point.module, point.attr
    except AttributeError as err:
        raise PluginError(f'its entry point "{point.value}" is not "package.module" or "package.module:name"') from err
    try:
        loaded: object = importlib.import_module(module_name)
        for name in attribute.split(".") if attribute else ():
            if not hasattr(loaded, name):
                close = nearest(name, vars(loaded)) if hasattr(loaded, "__dict__") else None
                raise PluginError(
                    f"its entry point names {point.value}, but {module_name} has no {name}"
                    + (f'; did you mean "{close}"?' if close else "")
                )
            loaded = getattr(loaded, name)
    except (KeyboardInterrupt, _TooLong, PluginError):
        raise
    except ModuleNotFoundError as err:
        raise PluginError(_what_is_missing(err, module_name)) from err
    except BaseException as err:  # a stranger's module may raise anything, SystemExit too
        raise PluginError(f"importing {module_name} failed: {in_words(err)}") from err
    return loaded


def in_words(err: BaseException) -> str:
    """What was raised, and in which line; a `PluginError` is words already."""
    if isinstance(err, PluginError):
        return str(err)
    try:
        text = str(err)
    except Exception:  # a stranger's `__str__`, or one that no longer finds what it would tell
        text = ""
    said = f"{type(err).__name__}: {text}" if text else type(err).__name__
    frames = [f for f in traceback.extract_tb(err.__traceback__) if "importlib" not in f.filename]
    is_strangers = bool(frames) and not frames[-1].filename.startswith(os.path.dirname(__file__))
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
        return f"its own module {missing} is not there; reinstall the package"
    if library == "capfw":
        version = importlib.metadata.version("capfw")
        return f"it needs {missing}, which capfw {version} does not have: install versions of the two that fit"
    if library != missing and importlib.util.find_spec(library):
        return f'it needs {missing}, which the installed library "{library}" does not have: pip install -U {library}'
    return f'it needs the library "{library}", which is not installed: pip install {library}'
