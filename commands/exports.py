"""The command that exports the captions and scores of a run for another tool."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .arguments import AS_JSON, Pairs, component_names, registry_of, set_option


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--to", "exporter", required=True, shell_complete=component_names("exporter"), help="Exporter (csv, parquet, ...)."
)
@click.option(
    "--split", default=None, help="Split to export; by default the last one that was scored (test, else val)."
)
@click.option("--output", type=click.Path(path_type=Path), help="File to write; default: RUN_DIR/exports/SPLIT.SUFFIX.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@set_option("Set an option of the exporter (/thumbnails=false)")
@AS_JSON
@click.pass_context
def export(
    ctx: click.Context,
    run_dir: Path,
    exporter: str,
    split: str | None,
    output: Path | None,
    force: bool,
    overrides: Pairs,
    as_json: bool,
) -> None:
    """Export the captions and scores of a run for another tool.

    `capfw plugins` lists the exporters.
    """
    registry = registry_of(ctx)
    from ..core.engine.exporting import export_run

    done = export_run(run_dir, exporter, split, output=output, overrides=overrides, is_forced=force, registry=registry)
    if as_json:
        place = None if done.output is None else str(done.output)
        click.echo(json.dumps({"output": place, "split": done.split, "num_images": done.num_images, "hint": done.hint}))
        return
    click.echo(f"{done.output or exporter}: {done.num_images} images of split {done.split}; {done.hint}")
