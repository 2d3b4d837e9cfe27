"""The arguments and output that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..core.registry import Registry
    from ..core.spec import RunSpec

SPEC = click.argument("spec", type=click.Path(path_type=Path))
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="POINTER=VALUE",
    help="Override a value of the spec (/train/epochs=1); repeatable.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def registry_of(ctx: click.Context) -> Registry:
    """The registry of every installed plugin, without those in `--no-plugin`."""
    from ..core.registry import Registry

    return Registry.discover(skip=ctx.find_root().obj)


def load(ctx: click.Context, spec: Path, overrides: Sequence[str]) -> tuple[RunSpec, Registry]:
    """The spec in a file with the values of `--set`, and its registry."""
    from ..core.spec import load_spec, parse_override

    registry = registry_of(ctx)
    return load_spec(spec, registry=registry, overrides=dict(map(parse_override, overrides))), registry


def print_scores(title: str, scores: Mapping[str, float]) -> None:
    """Prints scores on stdout, below a title; CIDEr is unscaled (1.2, not 120)."""
    from rich.console import Console
    from rich.table import Table

    click.echo(title)  # a table would wrap its title at its own width
    table = Table()
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        table.add_row(name, f"{value:.4f}")
    Console(file=sys.stdout).print(table)
