"""Commands for those who write plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.authoring.scaffold import PLUGIN_KINDS
from .arguments import registry_of

if TYPE_CHECKING:
    from ..core.protocols import Kind


@click.group()
def new() -> None:
    """Begin a component of your own: `new plugin` writes a package."""


@new.command("plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(PLUGIN_KINDS), required=True, help="What it plugs in.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(), help="Folder to write NAME/ into; default: here."
)
@click.pass_context
def new_plugin(ctx: click.Context, name: str, kind: Kind, output: Path) -> None:
    """Write a plugin package that works as it is.

    The folder NAME/ (say, capfw-tiny-eye) gets a component, its tests, a README and a spec.
    """
    from ..core.authoring import scaffold

    made = scaffold.new_plugin(name, kind, registry=registry_of(ctx), output=output)
    click.echo(
        f"Wrote {made.folder}, {len(made.files)} files. It works as it is; what to change is marked YOURS. Next:"
    )
    click.echo(f'  cd {made.folder}\n  pip install -e ".[test]"\n  pytest')
    click.echo(f"  capfw plugins show {kind}/{made.names.component}\n  capfw run spec.json")
