"""The command that writes a first spec: init."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import questions
from .arguments import SET, Columns, Pairs, column_option, component_names, registry_of
from .interview import Interview, printed_notices

if TYPE_CHECKING:
    from ..core.authoring.first_spec import Checked, Wishes
    from ..core.authoring.from_run import TrainedRun
    from ..core.protocols import Kind
    from ..core.registry import Registry

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
OUTPUT = Path("spec.json")


@click.command()
@click.option("--images", type=FOLDER, help="Folder of your images.")
@click.option(
    "--captions",
    type=FILE,
    help="Your captions: CSV, TSV, JSON lines, a JSON list, COCO's or Karpathy's JSON; by default a table that lies in the "
    "folder of the images.",
)
@column_option(
    "--column",
    "columns",
    "Column of the table that holds the file, caption, split or image_id; by default one of a usual name. Repeatable, "
    "for several columns of captions too.",
)
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
@click.option(
    "--from",
    "run",
    type=FOLDER,
    metavar="RUN",
    help="Run directory to fine-tune: encoder, mapper, decoder and their weights come from it.",
)
@click.option("--run-dir", help="Run directory, relative to the spec; by default runs/ and the name of the spec.")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, show_default=True, help="Spec to write.")
@click.option("--force", is_flag=True, help="Overwrite an existing spec.")
@SET
@click.pass_context
def init(
    ctx: click.Context,
    images: Path | None,
    captions: Path | None,
    columns: Columns,
    data: str | None,
    run: Path | None,
    encoder: str | None,
    mapper: str | None,
    decoder: str | None,
    run_dir: str | None,
    output: Path,
    force: bool,
    overrides: Pairs,
) -> None:
    """Write a spec for your own images and captions.

    It also writes a JSON Schema beside the spec, with which an editor completes it. On a terminal, it asks for missing
    files, columns and parts; each answer has a flag. It checks the captions before it writes anything.
    """
    from ..core.authoring.first_spec import Wishes, require_free, write
    from ..core.authoring.from_run import TrainedRun

    require_free(output, is_forced=force)
    registry = registry_of(ctx)
    given: dict[Kind, str | None] = {"dataset": data, "encoder": encoder, "mapper": mapper, "decoder": decoder}
    names = {kind: name for kind, name in given.items() if name is not None}
    for kind, name in names.items():
        registry.component(kind, name)  # a wrong name is an error before the first question
    begins_with = TrainedRun.read(run) if run else None
    if begins_with:
        names |= begins_with.names(names, registry)
    is_asking = images is None
    if images is None:
        if not questions.is_terminal():
            raise click.UsageError("--images must be given: there is no terminal to ask for it.")
        images = questions.ask_for_images()
    wishes = Wishes(images, captions, run_dir or f"runs/{output.stem}", names, overrides, columns, begins_with)
    flags = {
        "--run-dir": run_dir,
        "--output": None if output == OUTPUT else str(output),
        "--force": "" if force else None,
    }
    interview = Interview(wishes, registry, output, is_asking)
    try:
        with printed_notices():
            raw, checked = interview.settle()
        for notice in begins_with.notices(checked.data.training_captions, registry) if begins_with else ():
            click.echo(f"Note: {notice}", err=True)
        write(raw, registry, output, is_forced=force)
    except (Exception, KeyboardInterrupt):
        if interview.is_asking:  # the answers are not lost
            _print_command("Your answers so far, as a command", interview.wishes, flags)
        raise
    _print_summary(raw, checked, registry, output, begins_with)
    if interview.is_asking:
        _print_command("The same without questions", interview.wishes, flags)


def _print_command(title: str, wishes: Wishes, flags: dict[str, str | None]) -> None:
    click.echo(f"{title}:\n  {questions.as_command(wishes, flags)}", err=True)


def _print_summary(
    raw: dict[str, Any], checked: Checked, registry: Registry, output: Path, begins_with: TrainedRun | None
) -> None:
    from ..core.authoring.first_spec import SCHEMA_FILE

    splits = ", ".join(f"{split} {count}" for split, count in checked.data.num_images.items())
    fewest, most = checked.data.captions_per_image
    each = f"{most} an image" if fewest == most else f"{fewest} to {most} an image"
    assert checked.spec.data is not None, "a draft names a data set"
    click.echo(f"Wrote {output}, and {output.parent / SCHEMA_FILE} for your editor.")
    click.echo(f"  data     {checked.spec.data.name}: {checked.data.num_captions} captions, {each}; images: {splits}")
    for part in (checked.spec.encoder, checked.spec.mapper, checked.spec.decoder):
        options = {key: value for key, value in raw[part.kind].items() if key != "name"}
        known = () if begins_with else registry.components(part.kind)
        others = ", ".join(c.name for c in known if c.name != part.name)
        click.echo(
            f"  {part.kind:<8} {part.name} {json.dumps(options)}"
            + f"  (--{part.kind} also takes {others})" * bool(others)
        )
    if begins_with:
        train, path = checked.spec.train, begins_with.path
        click.echo(f"  from     {path}: these parts with the weights of step {begins_with.step}, and how to generate")
        click.echo(
            f"  train    {train.epochs} epochs, peak learning rate {train.lr:g} (the run's: {begins_with.rate:g})"
        )
    click.echo("It opened no images and read no weights; published weights are downloaded on first use. Next:")
    click.echo(f"  capfw validate {output}\n  capfw run {output}")
