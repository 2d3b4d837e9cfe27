"""Commands for authors of plugins."""

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
    """Start your own component: `new plugin` writes a package."""


@new.command("plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(PLUGIN_KINDS), required=True, help="Kind of its component.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder for NAME/; default: the working directory.",
)
@click.pass_context
def new_plugin(ctx: click.Context, name: str, kind: Kind, output: Path) -> None:
    """Write a plugin package that works without changes.

    The folder NAME/ (for example capfw-tiny-eye) gets a component, its tests, a README and a spec.
    """
    from ..core.authoring import scaffold

    made = scaffold.new_plugin(name, kind, registry=registry_of(ctx), output=output)
    click.echo(
        f"Wrote {made.folder}, {len(made.files)} files. It works without changes; places to edit are marked YOURS. Next:"
    )
    click.echo(f'  cd {made.folder}\n  pip install -e ".[test]"\n  pytest')
    click.echo(f"  capfw plugins show {kind}/{made.names.component}\n  capfw run spec.json")
