"""Commands about spec files: validate, schema, spec resolve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import AS_JSON, SET, SPEC, Pairs, load, registry_of

if TYPE_CHECKING:
    from ..core.protocols import PublishedWeights
    from ..core.spec import RunSpec


@click.command()
@SPEC
@SET
@click.option(
    "--weights", "with_weights", is_flag=True, help="Find published weights on this machine too (it imports torch)."
)
@AS_JSON
@click.pass_context
def validate(ctx: click.Context, spec: Path, overrides: Pairs, with_weights: bool, as_json: bool) -> None:
    """Check SPEC, and report every mistake at once.

    It checks keys, types, ranges, components, input files, and whether the parts fit. It does not read weights,
    annotations or images. --weights lists the published weights that a run will download. It uses no network. The exit
    code is 2 when some are not on this machine.
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
    missing = _missing_weights(loaded) if with_weights else None
    if as_json:
        content: dict[str, object] = {"valid": True, "problems": []}
        if missing is not None:
            named = dict.fromkeys((each.option, each.title) for each in missing)
            content["missing_weights"] = [{"pointer": place, "weights": title} for place, title in named]
        click.echo(json.dumps(content))
        ctx.exit(2 if missing else 0)
    chosen = (loaded.data, loaded.encoder, loaded.mapper, loaded.decoder)
    parts = ", ".join(f"{part.kind} {part.name}" for part in chosen if part is not None)
    click.echo(f"{spec}: valid ({parts}).")
    click.echo("Checked: keys, types, ranges, components, the presence of input files, features against the mapper.")
    if missing is None:
        click.echo("Not checked: weights (--weights finds published ones on this machine), annotations, images.")
        return
    if missing:
        from ..core.protocols.published import missing_weights

        raise missing_weights(dict.fromkeys(missing, ""), "and this command downloads nothing; `capfw run` does")
    click.echo("Published weights: all on this machine, or none needed.")
    click.echo("Not checked: the content of weights, annotations, images.")


def _missing_weights(spec: RunSpec) -> list[PublishedWeights]:
    """The published weights that a run of the spec reads, and that are not on this machine."""
    from ..core.engine.weights import published_weights

    return [each for each in published_weights(spec) if each.paths() is None]


@click.command()
@click.option("--sweep", "of_sweep", is_flag=True, help="Print the schema of a sweep file instead.")
@click.pass_context
def schema(ctx: click.Context, of_sweep: bool) -> None:
    """Print the JSON Schema of a spec, with every installed component."""
    from ..core.spec.schema import json_schema
    from ..core.sweeping.schema import sweep_schema

    make = sweep_schema if of_sweep else json_schema
    click.echo(json.dumps(make(registry_of(ctx)), indent=2))


@click.group("spec")
def spec_group() -> None:
    """Show a resolved spec: `spec resolve SPEC`."""


@spec_group.command()
@SPEC
@SET
@click.pass_context
def resolve(ctx: click.Context, spec: Path, overrides: Pairs) -> None:
    """Print SPEC with all defaults.

    The output runs again unchanged.
    """
    loaded, _ = load(ctx, spec, overrides)
    click.echo(json.dumps(loaded.to_json(), indent=2))
