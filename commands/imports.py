"""Commands that import files of other projects: import checkpoint, import features."""

from __future__ import annotations

from pathlib import Path

import click

from .arguments import DEVICE, SET, SPEC, Pairs, component_names, load, registry_of

FILE = click.argument("file", type=click.Path(path_type=Path))
FORMAT = click.option(
    "--format",
    "format_name",
    shell_complete=component_names("importer"),
    help="Importer (`capfw plugins` lists them); by default, the one that recognises FILE.",
)


@click.group("import")
def import_group() -> None:
    """Import another project's checkpoint or features.

    A checkpoint becomes a run directory; features go to the feature store of a spec.
    """


@import_group.command()
@FILE
@click.argument("run_dir", type=click.Path(path_type=Path))
@FORMAT
@SET
@click.pass_context
def checkpoint(ctx: click.Context, file: Path, run_dir: Path, format_name: str | None, overrides: Pairs) -> None:
    """Create a run directory from a trained checkpoint.

    Use RUN_DIR with `capfw caption` and `capfw evaluate`.
    Add options that the file does not contain with --set: /data for `capfw evaluate`, /encoder, /decoder/weights, ...
    """
    registry = registry_of(ctx)
    from ..core.engine.importing.checkpoints import import_checkpoint

    made = import_checkpoint(file, run_dir, format_name=format_name, overrides=overrides, registry=registry)
    for notice in made.notices:
        click.echo(f"Note: {notice}", err=True)
    click.echo(f"Run directory: {made.run_dir} (from {made.format_name})")
    click.echo(f"Caption images with it: capfw caption IMAGES... --run {made.run_dir}")
    data = "" if made.spec.data else " --set '/data={\"name\": ...}' --output FOLDER"
    click.echo(f"Score it: capfw evaluate {made.run_dir}{data}")


@import_group.command()
@FILE
@SPEC
@FORMAT
@SET
@DEVICE
@click.pass_context
def features(
    ctx: click.Context,
    file: Path,
    spec: Path,
    format_name: str | None,
    overrides: Pairs,
    device: str | None,
) -> None:
    """Copy embeddings into the feature store of SPEC.

    It first encodes a few images with SPEC's encoder, and compares the result with FILE.
    """
    loaded, registry = load(ctx, spec, overrides)
    from ..core.engine.importing.features import import_features

    made = import_features(file, loaded, format_name=format_name, registry=registry, device=device)
    for split, num_images in made.num_images.items():
        num_present, num_imported = made.num_present[split], made.num_imported[split]
        click.echo(
            f"{split}: {num_images} images, {num_imported} imported, {num_present} had features, "
            f"{num_images - num_imported - num_present} left to encode"
        )
    if made.num_unused:
        click.echo(f"{made.num_unused} rows of {file} belong to no image of the data set.", err=True)
    click.echo(f"Images compared with the encoder's own features: {made.num_checked}")
    click.echo(f"Feature store: {made.store}")
