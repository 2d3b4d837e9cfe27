"""Commands about plugins and their components."""

from __future__ import annotations

import json

import click

from .shared import AS_JSON, registry_of


@click.group(invoke_without_command=True)
@AS_JSON
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins and their components; `plugins show NAME` prints the options of one, `plugins check NAME` tests it."""
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    found = registry_of(ctx).plugins
    if as_json:
        click.echo(json.dumps([asdict(plugin) for plugin in found]))
        return
    width = max((len(plugin.name) for plugin in found), default=0)
    for plugin in found:
        origin = f"{plugin.distribution} {plugin.version}".strip()
        click.echo(f"{plugin.name:<{width}}  {origin:<18} {plugin.state:<8} {', '.join(plugin.components)}")
        if plugin.cause:
            click.echo(f"    {plugin.cause}")


@plugins.command()
@click.argument("name")
@AS_JSON
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Print what a component is, its options, and a spec fragment. NAME may be KIND/NAME."""
    from dataclasses import asdict

    from ..core.describe import describe

    found = describe(registry_of(ctx), name)
    if as_json:
        click.echo(json.dumps([asdict(about) for about in found]))
        return
    for about in found:
        click.echo(f"{about.kind} {about.name}: {about.summary}")
        if about.source:
            click.echo(f"Source: {about.source}")
        click.echo("Options:" if about.options else "It has no options.")
        for option in about.options:
            default = "required" if option.is_required else f"default {json.dumps(option.default)}"
            click.echo(f"  {option.name}: {option.type}; {default}\n      {option.description}")
        click.echo(f"In a spec:\n  {about.fragment}")


@plugins.command()
@click.argument("name")
@AS_JSON
@click.pass_context
def check(ctx: click.Context, name: str, as_json: bool) -> None:
    """Run the conformance checks of a component. NAME may be KIND/NAME. Exits with 1 when one fails."""
    from collections import Counter
    from dataclasses import asdict

    from ..core.conformance import check_each

    found = []
    for result in check_each(name, registry_of(ctx)):
        found.append(result)
        if not as_json:
            under = f" with {result.options}" if result.options else ""
            click.echo(f"{result.outcome:<8} {result.kind} {result.component}{under}: {result.check}")
            for line in (*result.message.splitlines(), *result.advice.splitlines()):
                click.echo(f"    {line}")
    counts = Counter(result.outcome for result in found)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in found]))
    else:
        click.echo(", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped")))
    ctx.exit(1 if counts["failed"] else 0)
