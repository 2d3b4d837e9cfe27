"""Writes the parts of the docs that come from the code: reference.md, the tables in spec.md, the files in plugins.md.

    python docs/generate_reference.py

`make docs` runs it first, and a test fails when the committed pages differ from what it writes.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from capfw.core.protocols import KINDS, AverageBeamOptions, BeamOptions, GreedyOptions, NucleusOptions
from capfw.core.registry import Registry
from capfw.core.spec import RunSpec
from capfw.core.spec.describe import Description, Option, describe, options_of, scores_in_words
from capfw.core.spec.settings import FeatureSettings, TrainSettings

FOLDER = Path(__file__).resolve().parent
PLUGINS = FOLDER.parent / "tests/seams/plugins"
INTRODUCTION = """\
# Reference

<!-- Written by docs/generate_reference.py; `make docs` brings it up to date. -->

Every component that comes with capfw, with its options as they are written in a spec. `capfw plugins show NAME` prints the
same for everything installed, components of other packages too. An option inside an object is named by its path:
`train/limit` is `{"train": {"limit": ...}}`, and is required only where that object is given.
"""
TABLES: dict[str, tuple[type[BaseModel], ...]] = {
    "features": (FeatureSettings,),
    "train": (TrainSettings,),
    "generate": (GreedyOptions, BeamOptions, AverageBeamOptions, NucleusOptions),
}


def reference() -> str:
    """The page of every component of the distribution capfw."""
    registry = Registry.discover(only=["capfw"])
    parts = [INTRODUCTION]
    for kind, row in KINDS.items():
        components = registry.components(kind)
        parts += [f"## {row.plural}\n"] if components else []
        for component in components:
            [about] = describe(registry, f"{kind}/{component.name}")
            parts.append(_section(about))
    return "\n".join(parts)


def spec_page(text: str) -> str:
    """`text`, the page of the spec, with the tables between `<!-- table: NAME -->` and `<!-- end -->` written anew."""
    tables = {"spec": _spec_table()}
    tables |= {name: "\n".join(_settings(name, model) for model in models) for name, models in TABLES.items()}
    for name, table in tables.items():
        marked = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = marked.subn(lambda match, table=table: f"{match[1]}\n{table}\n{match[2]}", text)
        assert count == 1, f"spec.md has {count} tables {name}"
    return text


def plugins_page(text: str) -> str:
    """`text`, the page of whole plugins, with each block that is titled with a file of the tests replaced by that file."""
    for file in PLUGINS.glob("*.py"):
        block = re.compile(rf'(```python title="{file.name}"\n).*?^```$', re.DOTALL | re.MULTILINE)
        content = file.read_text(encoding="utf-8")
        text, count = block.subn(lambda match, content=content: f"{match[1]}{content}```", text)
        assert count == 1, f"plugins.md has {count} blocks titled {file.name}"
    return text


def pages() -> dict[Path, str]:
    """The text of each page that is written, in whole or in part, from the code."""
    spec, plugins = FOLDER / "spec.md", FOLDER / "plugins.md"
    return {
        FOLDER / "reference.md": reference(),
        spec: spec_page(spec.read_text(encoding="utf-8")),
        plugins: plugins_page(plugins.read_text(encoding="utf-8")),
    }


def _section(about: Description) -> str:
    lines = [f"### {about.kind} {about.name}", "", about.summary]
    lines += ["", f"Source: {about.source}."] if about.source else []
    lines += ["", f"Scores: {scores_in_words(about)}."] if about.scores else []
    lines += ["", _table(about.options)] if about.options else ["", "Options: none.", ""]
    if about.fragment.startswith('"'):
        lines += ["The smallest form, as in tests:", "", "```json", f"{{{about.fragment}}}", "```", ""]
    else:  # no spec names it; a command uses it
        lines += [f"Use: `{about.fragment}`", ""]
    return "\n".join(lines)


def _settings(section: str, model: type[BaseModel]) -> str:
    """The table of the model of a section; a model that is one of several begins with the tag that chooses it."""
    by_default = {row.section: dict(row.default) for row in KINDS.values() if row.default}
    options = [
        replace(option, is_required=False, default=by_default[place]) if place in by_default else option
        for option in options_of(model)
        for place in [f"/{section}/{option.name}"]
    ]
    method = model.model_fields.get("method")
    heading = f'`"method": "{method.default}"`. {_first_line(model)}\n\n' if method else ""
    return heading + _table(option for option in options if option.name != "method")


def _spec_table() -> str:
    lines = ["| key | what | default |", "|---|---|---|"]
    for name, field in RunSpec.model_fields.items():
        default = "as below" if name in TABLES else "required" if field.is_required() else _code(field.default)
        lines.append(f"| `{field.alias or name}` | {_cell(field.description or '')} | {default} |")
    return "\n".join(lines) + "\n"


def _table(options: object) -> str:
    lines = ["| option | takes | default | |", "|---|---|---|---|"]
    for option in options:
        assert isinstance(option, Option)
        default = "required" if option.is_required else _code(option.default)
        lines.append(f"| `{option.name}` | {_cell(option.type)} | {default} | {_cell(option.description)} |")
    return "\n".join(lines) + "\n"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").splitlines()[0]


def _code(value: object) -> str:
    return f"`{_cell(json.dumps(value, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
