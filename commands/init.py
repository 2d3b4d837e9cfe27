"""The command that writes a first spec: init."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .arguments import SET, component_names, registry_of

if TYPE_CHECKING:
    from ..core.authoring.first_spec import Checked
    from ..core.protocols import Kind
    from ..core.registry import Registry

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--images", type=FOLDER, help="Folder of your images.")
@click.option("--captions", type=FILE, help="Your captions: CSV, TSV, JSON lines, COCO's or Karpathy's JSON.")
@click.option(
    "--data",
    metavar="NAME",
    shell_complete=component_names("dataset"),
    help="Data set that reads the captions; by default the one that recognizes them.",
)
@click.option(
    "--encoder",
    metavar="NAME",
    shell_complete=component_names("encoder"),
    help="Image encoder; by default a recommended one.",
)
@click.option(
    "--mapper",
    metavar="NAME",
    shell_complete=component_names("mapper"),
    help="Mapper; by default a recommended one that fits the encoder.",
)
@click.option(
    "--decoder",
    metavar="NAME",
    shell_complete=component_names("decoder"),
    help="Decoder; by default a recommended one.",
)
@click.option("--run-dir", help="Run directory, relative to the spec; by default runs/ and the name of the spec.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("spec.json"), show_default=True, help="Spec to write."
)
@click.option("--force", is_flag=True, help="Overwrite an existing spec.")
@SET
@click.pass_context
def init(
    ctx: click.Context,
    images: Path | None,
    captions: Path | None,
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
    files and parts. It checks the captions before it writes anything.
    """
    from ..core.authoring.first_spec import Wishes, draft, require_free, write
    from ..core.spec import parse_override

    require_free(output, is_forced=force)
    registry = registry_of(ctx)
    given: dict[Kind, str | None] = {"dataset": data, "encoder": encoder, "mapper": mapper, "decoder": decoder}
    names = {kind: name for kind, name in given.items() if name is not None}
    is_asking = images is None or captions is None
    if is_asking:
        images, captions = _ask_for_files(images, captions)
        _ask_for_names(registry, names)
    assert images is not None
    assert captions is not None
    wishes = Wishes(images, captions, run_dir or f"runs/{output.stem}", names, tuple(map(parse_override, overrides)))
    raw = draft(wishes, registry, output.parent)
    checked = _check(raw, registry, output, is_asking=is_asking)
    write(raw, registry, output, is_forced=force)
    _print_summary(raw, checked, registry, output)


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _ask_for_files(images: Path | None, captions: Path | None) -> tuple[Path, Path]:
    if not is_terminal():
        missing = [name for name, value in (("--images", images), ("--captions", captions)) if value is None]
        raise click.UsageError(f"{' and '.join(missing)} must be given: there is no terminal to ask for them.")
    if images is None:
        images = click.prompt("Folder of your images", type=FOLDER, err=True)
    if captions is None:
        captions = click.prompt(
            "File of their captions (CSV, TSV, JSON lines, COCO or Karpathy JSON)", type=FILE, err=True
        )
    return images, captions


def _ask_for_names(registry: Registry, names: dict[Kind, str]) -> None:
    """Asks for the parts that were not named, and proposes the recommended ones. The mapper follows from the encoder."""
    from ..core.authoring.first_spec import propose

    kinds: tuple[Kind, ...] = ("encoder", "decoder")
    for kind in kinds:
        if kind not in names:
            choices = [component.name for component in registry.components(kind)]
            default = propose(registry, kind, names).name
            names[kind] = click.prompt(f"The {kind}", type=click.Choice(choices), default=default, err=True)


def _check(raw: dict[str, Any], registry: Registry, output: Path, *, is_asking: bool) -> Checked:
    """Checks spec and data. On a terminal, it offers to leave wrong rows out."""
    from ..core.authoring.first_spec import check
    from ..core.errors import DataError, SpecError

    hint = f"{output} was not written; --set POINTER=VALUE sets an option in it"
    try:
        return check(raw, registry, output.parent)
    except SpecError as err:
        raise SpecError(err.problems, source=f"{hint}.") from err
    except DataError as err:
        options = registry.component("dataset", raw["data"]["name"]).config.model_fields
        is_undecided = "on_bad_row" in options and "on_bad_row" not in raw["data"]
        is_about_rows = is_undecided and "on_bad_row" in (err.fix or "")
        if not (is_asking and is_about_rows):
            example = ", for example --set /data/on_bad_row=skip" if is_about_rows else ""
            err.fix = "\n".join(filter(None, [err.fix, f"{hint}{example}."]))
            raise
        click.echo(str(err), err=True)
    if not click.confirm("Leave these rows out?", default=False, err=True):
        click.echo(f"{output} was not written.", err=True)
        click.get_current_context().exit(2)
    raw["data"]["on_bad_row"] = "skip"
    return check(raw, registry, output.parent)


def _print_summary(raw: dict[str, Any], checked: Checked, registry: Registry, output: Path) -> None:
    from ..core.authoring.first_spec import SCHEMA_FILE

    for warning in checked.warnings:
        click.echo(warning, err=True)
    splits = ", ".join(f"{split} {count}" for split, count in checked.num_images.items())
    click.echo(f"Wrote {output}, and {output.parent / SCHEMA_FILE} for your editor.")
    click.echo(f"  data     {checked.spec.data.name}: {checked.num_captions} captions; images: {splits}")
    for part in (checked.spec.encoder, checked.spec.mapper, checked.spec.decoder):
        options = {key: value for key, value in raw[part.kind].items() if key != "name"}
        others = ", ".join(c.name for c in registry.components(part.kind) if c.name != part.name)
        click.echo(
            f"  {part.kind:<8} {part.name} {json.dumps(options)}"
            + f"  (--{part.kind} also takes {others})" * bool(others)
        )
    click.echo("It opened no images and read no weights; published weights are downloaded on first use. Next:")
    click.echo(f"  capfw validate {output}\n  capfw run {output}")
