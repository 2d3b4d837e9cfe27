"""The arguments and output that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..core.protocols import Kind
    from ..core.registry import Registry
    from ..core.spec import RunSpec

SPEC = click.argument("spec", type=click.Path(path_type=Path))


def _well_formed(_: click.Context, __: click.Parameter, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses an override without a value before click complains of the value in the next word."""
    if overrides:
        from ..core.spec import parse_override

        for each in overrides:
            parse_override(each)
    return overrides


SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="POINTER=VALUE",
    callback=_well_formed,
    help="Override a value of the spec (/train/epochs=1); repeatable.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def component_names(*kinds: Kind) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the name of a component of these kinds, of all kinds by default, in a shell."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
        from ..core.protocols import KINDS
        from ..core.registry import Registry

        registry = Registry.discover()
        names = {component.name for kind in kinds or KINDS for component in registry.components(kind)}
        return sorted(name for name in names if name.startswith(begun))

    return complete


def registry_of(ctx: click.Context) -> Registry:
    """The registry of every installed plugin, without those in `--no-plugin`."""
    from ..core.registry import Registry

    return Registry.discover(skip=ctx.find_root().obj)


def load(ctx: click.Context, spec: Path, overrides: Sequence[str]) -> tuple[RunSpec, Registry]:
    """The spec in a file with the values of `--set`, and its registry."""
    from ..core.spec import load_spec, parse_override

    registry = registry_of(ctx)
    return load_spec(spec, registry=registry, overrides=list(map(parse_override, overrides))), registry


def print_scores(title: str, scores: Mapping[str, float]) -> None:
    """Prints scores on stdout; CIDEr is unscaled (1.2, not 120)."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        table.add_row(name, f"{value:.4f}")
    Console(file=sys.stdout).print(table)
