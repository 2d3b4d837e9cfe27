"""Joins the page's HTML, style and modules into one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files
from string import Template

_IMPORT = re.compile(r'^import \{ ([^}]*) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_PARTS = files(__package__) / "page"


def page_html() -> str:
    """The page. It finds its data in scripts `data/NAME.js` beside it.

    Its policy lets it run only its own script, and load scripts and pictures only from its own folder.
    """
    style, script = _read("style.css"), joined_script()
    policy = (
        f"default-src 'none'; script-src 'self' {_hash(script)}; style-src {_hash(style)}; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": style, "script": script}
    return Template(_read("index.html")).substitute(parts)


def data_script(name: str, value: object) -> bytes:
    """The script that hands the page the data `name`."""
    return f"capfwData({json.dumps(name)},{as_json(value)});\n".encode("utf-8", "backslashreplace")


def palette() -> str:
    """The page's colours, light and dark, as CSS."""
    return _read("style.css").partition("\n* {")[0]


def as_json(value: object) -> str:
    """JSON that may stand inside a script element. Raises `ValueError` for NaN and infinite numbers."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@cache
def joined_script() -> str:
    """The modules as one script, each in a function of its own: `import` does not work from file://."""
    sources = {
        entry.name.removesuffix(".js"): _read(entry.name) for entry in _PARTS.iterdir() if entry.name.endswith(".js")
    }
    needs = {name: [module for _, module in _IMPORT.findall(source)] for name, source in sources.items()}
    functions = [_as_function(name, sources[name]) for name in TopologicalSorter(needs).static_order()]
    return "const modules = {};\n" + "".join(functions)


def _as_function(name: str, source: str) -> str:
    exported = ", ".join(_EXPORT.findall(source))
    body = _EXPORT.sub("", _IMPORT.sub(r"const { \1 } = modules.\2;", source))
    return f'modules.{name} = (() => {{\n"use strict";\n{body}return {{ {exported} }};\n}})();\n'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _read(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
