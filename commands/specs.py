"""Commands about spec files: validate, schema, spec resolve."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .arguments import AS_JSON, SET, SPEC, load, registry_of


@click.command()
@SPEC
@SET
@AS_JSON
@click.pass_context
def validate(ctx: click.Context, spec: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check SPEC, and report every mistake at once.

    It checks keys, types, ranges, components, input files, and whether the parts fit. It does not read weights,
    annotations or images.
    """
    from ..core.errors import SpecError

    try:
        loaded, _ = load(ctx, spec, overrides)
    except SpecError as err:
        if as_json:
            problems = [{"pointer": p.pointer, "message": p.message, "fix": p.fix} for p in err.problems]
            description = {"description": err.description} if err.description else {}
            click.echo(json.dumps({"valid": False, "problems": problems, **description}))
            ctx.exit(err.exit_code)
        raise
    if as_json:
        click.echo(json.dumps({"valid": True, "problems": []}))
        return
    named = (loaded.data, loaded.encoder, loaded.mapper, loaded.decoder)
    parts = ", ".join(f"{part.kind} {part.name}" for part in named if part is not None)
    click.echo(f"{spec}: valid ({parts}).")
    click.echo("Checked: keys, types, ranges, components, the presence of input files, features against the mapper.")
    click.echo("Not checked: weights, annotations, images.")


@click.command()
@click.pass_context
def schema(ctx: click.Context) -> None:
    """Print the JSON Schema of a spec, with every installed component."""
    from ..core.spec.schema import json_schema

    click.echo(json.dumps(json_schema(registry_of(ctx)), indent=2))


@click.group("spec")
def spec_group() -> None:
    """Show a resolved spec: `spec resolve SPEC`."""


@spec_group.command()
@SPEC
@SET
@click.pass_context
def resolve(ctx: click.Context, spec: Path, overrides: tuple[str, ...]) -> None:
    """Print SPEC with all defaults.

    The output runs again unchanged.
    """
    loaded, _ = load(ctx, spec, overrides)
    click.echo(json.dumps(loaded.to_json(), indent=2))
