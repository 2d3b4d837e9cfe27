"""The command that writes a first spec: init."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import questions
from .arguments import SET, registry_of

if TYPE_CHECKING:
    from ..core.authoring.first_spec import Checked, Wishes
    from ..core.protocols import Kind
    from ..core.registry import Registry

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
OUTPUT = Path("spec.json")
SKIP = "/data/on_bad_row"


@click.command()
@click.option("--images", type=FOLDER, help="Folder of your images.")
@click.option(
    "--captions",
    type=FILE,
    help="Your captions: CSV, TSV, JSON lines, a JSON list, COCO's or Karpathy's JSON; by default a table that lies in the "
    "folder of the images.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="Column of the table that holds the file, caption, split or image_id; by default one of a usual name. Repeatable, "
    "for several columns of captions too.",
)
@click.option(
    "--data", metavar="NAME", help="Data set that reads the captions; by default the one that recognizes them."
)
@click.option("--encoder", metavar="NAME", help="Image encoder; by default a recommended one.")
@click.option("--mapper", metavar="NAME", help="Mapper; by default a recommended one that fits the encoder.")
@click.option("--decoder", metavar="NAME", help="Decoder; by default a recommended one.")
@click.option("--run-dir", help="Run directory, relative to the spec; by default runs/ and the name of the spec.")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, show_default=True, help="Spec to write.")
@click.option("--force", is_flag=True, help="Overwrite an existing spec.")
@SET
@click.pass_context
def init(
    ctx: click.Context,
    images: Path | None,
    captions: Path | None,
    columns: tuple[str, ...],
    data: str | None,
    encoder: str | None,
    mapper: str | None,
    decoder: str | None,
    run_dir: str | None,
    output: Path,
    force: bool,
    overrides: tuple[str, ...],
) -> None:
    """Write a spec for your own images and captions.

    It also writes a JSON Schema beside the spec, with which an editor completes it. On a terminal, it asks for missing
    files, columns and parts; each answer has a flag. It checks the captions before it writes anything.
    """
    from ..core.authoring.first_spec import Wishes, require_free, write
    from ..core.spec import parse_override

    require_free(output, is_forced=force)
    registry = registry_of(ctx)
    given: dict[Kind, str | None] = {"dataset": data, "encoder": encoder, "mapper": mapper, "decoder": decoder}
    names = {kind: name for kind, name in given.items() if name is not None}
    for kind, name in names.items():
        registry.component(kind, name)  # a wrong name is an error before the first question
    settings = dict(map(parse_override, overrides))
    by_role = _by_role(columns)
    is_asking = images is None
    if images is None:
        if not is_terminal():
            raise click.UsageError("--images must be given: there is no terminal to ask for it.")
        images = questions.ask_for_images()
    wishes = Wishes(images, captions, run_dir or f"runs/{output.stem}", names, settings, by_role)
    flags = {
        "--run-dir": run_dir,
        "--output": None if output == OUTPUT else str(output),
        "--force": "" if force else None,
    }
    session = _Session(wishes, registry, output, is_asking)
    try:
        with _notices():
            raw, checked = session.settle()
        write(raw, registry, output, is_forced=force)
    except (Exception, KeyboardInterrupt):
        if session.is_asking:  # the answers are not lost
            _print_command("Your answers so far, as a command", session.wishes, flags)
        raise
    _print_summary(raw, checked, registry, output)
    if session.is_asking:
        _print_command("The same without questions", session.wishes, flags)


class _Session:
    """The way from the user's wishes to a checked spec. On a terminal it asks for what is missing.

    `wishes` grows by the answers; `is_asking` is True once a question was asked.
    """

    def __init__(self, wishes: Wishes, registry: Registry, output: Path, is_asking: bool) -> None:
        self.wishes, self.is_asking = wishes, is_asking
        self._registry, self._output, self._folder = registry, output, output.parent
        self._asks_for_parts = is_asking

    def settle(self) -> tuple[dict[str, Any], Checked]:
        """Returns the JSON values of the spec, and what was checked."""
        raw = self._draft()
        is_told = self._decide_on_rows(raw)
        if self._asks_for_parts:
            self._ask_for_parts()
            raw = self._draft()
        from ..core.authoring.first_spec import check
        from ..core.errors import DataError, SpecError

        try:
            with _silence(is_told):
                return raw, check(raw, self._registry, self._folder)
        except SpecError as err:
            raise SpecError(err.problems, source=f"{self._output} was not written") from err
        except DataError as err:
            err.fix = "\n".join(filter(None, [err.fix, self._hint(raw, err)]))
            raise

    def _draft(self) -> dict[str, Any]:
        """Drafts the spec. On a terminal, it asks for a file of captions until one is recognized, and for columns."""
        from ..core.authoring.first_spec import NoCaptionsInside, draft
        from ..core.errors import DataError, UnclearColumns

        has_asked = False
        while True:
            try:
                return draft(self.wishes, self._registry, self._folder)
            except UnclearColumns as err:
                if not is_terminal():
                    raise
                click.echo(str(err), err=True)
                self._answer(columns={**self.wishes.columns, **questions.ask_for_columns(err)})
            except DataError as err:
                if not is_terminal() or (self.wishes.captions is not None and not has_asked):
                    raise
                if not isinstance(err, NoCaptionsInside):
                    click.echo(str(err), err=True)
                has_asked = self._asks_for_parts = True
                self._answer(captions=questions.ask_for_captions())

    def _answer(self, **changes: Any) -> None:
        self.wishes, self.is_asking = replace(self.wishes, **changes), True

    def _decide_on_rows(self, raw: dict[str, Any]) -> bool:
        """Checks the data before further questions, and offers to leave wrong rows out. Returns whether all was reported.

        With `on_bad_row` "skip" a data set no longer reports what it keeps, so that a run does not repeat it. Here it is
        reported, once.
        """
        from ..core.authoring.first_spec import check_data
        from ..core.errors import DataError

        if not (self._asks_for_parts or self._skips(raw)):
            return False  # the check of the whole spec reports everything
        strict = {**raw, "data": {key: value for key, value in raw["data"].items() if key != "on_bad_row"}}
        try:
            check_data(strict, self._registry, self._folder)
        except DataError as err:
            if self._skips(raw):
                return False  # the check of the whole spec lists the rows that are left out
            if not (is_terminal() and self._is_about_rows(raw, err)):
                err.fix = "\n".join(filter(None, [err.fix, self._hint(raw, err)]))
                raise
            click.echo(str(err), err=True)
            if not questions.ask_to_leave_out():
                click.echo(f"{self._output} was not written.", err=True)
                raise click.exceptions.Exit(2) from None
            self._answer(overrides={**self.wishes.overrides, SKIP: "skip"})
            raw["data"]["on_bad_row"] = "skip"
        return True

    def _ask_for_parts(self) -> None:
        """Asks for the parts that were not named, and proposes recommended ones. The mapper follows from the encoder."""
        from ..core.authoring.first_spec import propose

        kinds: tuple[Kind, ...] = ("encoder", "decoder")
        for kind in kinds:
            if kind not in self.wishes.names:
                default = propose(self._registry, kind, self.wishes.names).name
                name = questions.ask_for_component(kind, self._registry, default)
                self._answer(names={**self.wishes.names, kind: name})

    def _skips(self, raw: dict[str, Any]) -> bool:
        return bool(raw["data"].get("on_bad_row") == "skip")

    def _is_about_rows(self, raw: dict[str, Any], err: Exception) -> bool:
        """Whether the data set has an option to leave wrong rows out, and the error proposes it."""
        options = self._registry.component("dataset", raw["data"]["name"]).config.model_fields
        is_undecided = "on_bad_row" in options and "on_bad_row" not in raw["data"]
        return is_undecided and "on_bad_row" in (getattr(err, "fix", None) or "")

    def _hint(self, raw: dict[str, Any], err: Exception) -> str:
        example = f", for example --set {SKIP}=skip" if self._is_about_rows(raw, err) else ""
        return f"{self._output} was not written; --set POINTER=VALUE sets an option in it{example}."


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _by_role(columns: Sequence[str]) -> dict[str, list[str]]:
    """`file=Bild` and two of `caption=...` -> the names of each role."""
    by_role: dict[str, list[str]] = {}
    for text in columns:
        role, sign, name = text.partition("=")
        if not (role and sign and name):
            raise click.BadParameter(f'"{text}" is not ROLE=NAME, as in caption=Description.', param_hint="--column")
        by_role.setdefault(role, []).append(name)
    return by_role


@contextmanager
def _notices() -> Iterator[None]:
    """Prints each `CapfwWarning` once, as a note."""
    from ..core.errors import CapfwWarning

    said: set[str] = set()
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if not issubclass(category, CapfwWarning):
            others(message, category, *place)
        elif str(message) not in said:
            said.add(str(message))
            click.echo(f"Note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", CapfwWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _silence(is_told: bool) -> Iterator[None]:
    from ..core.errors import CapfwWarning

    with warnings.catch_warnings():
        if is_told:
            warnings.simplefilter("ignore", CapfwWarning)
        yield


def _print_command(title: str, wishes: Wishes, flags: dict[str, str | None]) -> None:
    click.echo(f"{title}:\n  {questions.as_command(wishes, flags)}", err=True)


def _print_summary(raw: dict[str, Any], checked: Checked, registry: Registry, output: Path) -> None:
    from ..core.authoring.first_spec import SCHEMA_FILE

    splits = ", ".join(f"{split} {count}" for split, count in checked.data.num_images.items())
    fewest, most = checked.data.captions_per_image
    each = f"{most} an image" if fewest == most else f"{fewest} to {most} an image"
    assert checked.spec.data is not None, "a draft names a data set"
    click.echo(f"Wrote {output}, and {output.parent / SCHEMA_FILE} for your editor.")
    click.echo(f"  data     {checked.spec.data.name}: {checked.data.num_captions} captions, {each}; images: {splits}")
    for part in (checked.spec.encoder, checked.spec.mapper, checked.spec.decoder):
        options = {key: value for key, value in raw[part.kind].items() if key != "name"}
        others = ", ".join(c.name for c in registry.components(part.kind) if c.name != part.name)
        click.echo(
            f"  {part.kind:<8} {part.name} {json.dumps(options)}"
            + f"  (--{part.kind} also takes {others})" * bool(others)
        )
    click.echo("It opened no images and read no weights; published weights are downloaded on first use. Next:")
    click.echo(f"  capfw validate {output}\n  capfw run {output}")
