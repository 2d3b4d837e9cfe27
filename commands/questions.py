"""The questions of `capfw init` on a terminal. A wrong answer is asked again, and "?" explains the choices."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from ..core.authoring.first_spec import Wishes
    from ..core.errors import UnclearColumns
    from ..core.protocols import Kind
    from ..core.registry import Registry

Answer = TypeVar("Answer")
_EXAMPLE_LENGTH = 60


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def ask_for_images() -> Path:
    """Asks for the folder of the images."""
    about = "The folder that holds your image files; it may have folders inside. Paths begin here: " + str(Path.cwd())
    return _ask("Folder of your images", about, lambda text: _existing(text, is_folder=True))


def ask_for_captions() -> Path:
    """Asks for the file of the captions."""
    about = (
        "One file: a table (CSV or TSV, as spreadsheets export it) with a column of file names and columns of captions;\n"
        "JSON lines or a JSON list of objects with such keys; COCO's or Karpathy's JSON."
    )
    return _ask("File of their captions", about, lambda text: _existing(text, is_folder=False))


def ask_for_columns(unclear: UnclearColumns) -> dict[str, Sequence[str]]:
    """Asks which columns have the roles that the table does not show."""
    names = list(unclear.columns)
    about = "\n".join(f"{name}: {_cut(example) or '(empty)'}" for name, example in unclear.columns.items())

    def chosen(text: str, takes_several: bool) -> Sequence[str]:
        if text in names:
            return [text]
        return [_one_of(each.strip(), names, "column") for each in (text.split(",") if takes_several else [text])]

    answers: dict[str, Sequence[str]] = {}
    for question in unclear.questions:
        several = ", several with commas between" * question.takes_several
        asked = f"Column of the {question.what}{several} ({', '.join(names)})"
        answers[question.role] = _ask(asked, about, partial(chosen, takes_several=question.takes_several))
    return answers


def ask_for_component(kind: Kind, registry: Registry, default: str) -> str:
    """Asks for a component, and proposes `default`."""
    components = registry.components(kind)
    names = [component.name for component in components]
    about = "\n".join(
        f"{component.name}: {component.summary}" + f" Its usual weights: {component.needs}." * bool(component.needs)
        for component in components
    )
    return _ask(f"The {kind} ({', '.join(names)})", about, lambda text: _one_of(text, names, kind), default)


def ask_to_leave_out() -> bool:
    """Asks whether wrong rows are left out."""
    return click.confirm("Leave these rows out?", default=False, err=True)


def as_command(wishes: Wishes, flags: Mapping[str, str | None]) -> str:
    """The command that states these wishes by flags alone. `flags` are other flags; None leaves one out."""
    from ..core.spec import pairs_of

    words = ["capfw", "init", "--images", str(wishes.images)]
    words += ["--captions", str(wishes.captions)] if wishes.captions else []
    words += [
        word for role, names in wishes.columns.items() for name in names for word in ("--column", f"{role}={name}")
    ]
    words += ["--from", str(wishes.begins_with.path)] if wishes.begins_with else []
    for kind, name in wishes.names.items():
        if wishes.begins_with and kind != "dataset":
            continue  # the run has these parts
        words += ["--data" if kind == "dataset" else f"--{kind}", name]
    words += [word for flag, value in flags.items() if value is not None for word in (flag, value) if word]
    words += [word for place, value in pairs_of(wishes.overrides) for word in ("--set", f"{place}={_as_value(value)}")]
    return shlex.join(words)


def _as_value(value: object) -> str:
    """`value` as `--set` takes it: a string as it is, unless it reads as other JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)


def _ask(question: str, about: str, read: Callable[[str], Answer], default: str | None = None) -> Answer:
    """Asks until `read` takes the answer. `read` raises `click.BadParameter` for a wrong one."""
    while True:
        answer = click.prompt(f'{question}; "?" explains', default=default, err=True).strip()
        if answer == "?":
            click.echo("\n".join(f"  {line}" for line in about.splitlines()), err=True)
            continue
        try:
            return read(answer)
        except click.BadParameter as err:
            click.echo(f"  {err.message}", err=True)


def _existing(text: str, *, is_folder: bool) -> Path:
    """The path that the user typed, or dragged into the terminal with quotes around it."""
    path = Path(text.strip("'\"")).expanduser()
    if path.is_dir() if is_folder else path.is_file():
        return path
    if path.exists():
        raise click.BadParameter(f"{path} is a {'file' if is_folder else 'folder'}.")
    above = next(folder for folder in path.absolute().parents if folder.is_dir())
    from ..core.errors import suggestion

    near = suggestion(path.name, (each.name for each in above.iterdir())) if above == path.absolute().parent else ""
    raise click.BadParameter(f"There is no {'folder' if is_folder else 'file'} {path} in {above}. {near}".rstrip())


def _one_of(text: str, names: Sequence[str], what: str) -> str:
    from ..core.errors import suggestion

    if text in names:
        return text
    raise click.BadParameter(f'No {what} is called "{text}". {suggestion(text, names)}'.rstrip())


def _cut(text: str) -> str:
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 3] + "..."
