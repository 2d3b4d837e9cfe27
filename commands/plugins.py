"""Commands about plugins and their components."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from .arguments import AS_JSON, component_names, registry_of

if TYPE_CHECKING:
    from ..core.conformance import CheckResult


@click.group(invoke_without_command=True)
@AS_JSON
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins and components; `show` or `check` one of them.

    CAPFW_PLUGINS=A,B loads only the plugins or packages with these names; add capfw for its own plugins. An empty
    variable counts as unset. `capfw --no-plugin NAME` leaves one out.
    """
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    found = registry_of(ctx).plugins
    if as_json:
        click.echo(json.dumps([asdict(plugin) for plugin in found]))
        return
    packages = [f"{plugin.distribution} {plugin.version}".strip() for plugin in found]
    widths = max((len(plugin.name) for plugin in found), default=0), max(map(len, packages), default=0)
    for plugin, package in zip(found, packages, strict=True):
        provides = ", ".join(plugin.components) or f"({', '.join(plugin.kinds) or 'of unknown kind'})"
        click.echo(f"{plugin.name:<{widths[0]}}  {package:<{widths[1]}}  {plugin.state:<8} {provides}")
        if plugin.cause:
            click.echo(_indented(plugin.cause))


def _indented(cause: str) -> str:
    """The start of a cause, indented: wrapped on a terminal, in one line elsewhere."""
    from ..core.registry import brief

    text = brief(cause, 500)  # `--json` has all of it
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(text) + 4
    return textwrap.fill(text, max(width, 40), initial_indent="    ", subsequent_indent="    ")


@plugins.command()
@click.argument("name", shell_complete=component_names())
@AS_JSON
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Print a component's options and an example section of a spec.

    NAME may be KIND/NAME.
    """
    from dataclasses import asdict

    from ..core.protocols import KINDS
    from ..core.spec.describe import describe, scores_in_words

    found = describe(registry_of(ctx), name)
    if as_json:
        click.echo(json.dumps([asdict(about) for about in found]))
        return
    for about in found:
        click.echo(f"{about.kind} {about.name}: {about.summary}")
        if about.source:
            click.echo(f"Source: {about.source}")
        if about.scores:
            click.echo(f"Scores: {scores_in_words(about)}")
        click.echo("Options:" if about.options else "Options: none.")
        for option in about.options:
            default = "required" if option.is_required else f"default {json.dumps(option.default)}"
            click.echo(f"  {option.name}: {option.type}; {default}\n      {option.description}")
        place = "On the command line" if KINDS[about.kind].section is None else "In a spec"
        click.echo(f"{place}:\n  {about.fragment}")


@plugins.command()
@click.argument("name", shell_complete=component_names())
@AS_JSON
@click.pass_context
def check(ctx: click.Context, name: str, as_json: bool) -> None:
    """Run the conformance checks of a component.

    NAME may be KIND/NAME. The exit code is 1 when a check fails.
    """
    from collections import Counter
    from dataclasses import asdict

    from ..core.conformance import check_each

    found: list[CheckResult] = []
    for result in check_each(name, registry_of(ctx)):
        is_told = result.outcome == "skipped" and any(result.message == earlier.message for earlier in found)
        found.append(result)
        if not as_json:
            under = f" with {result.options}" if result.options else ""
            click.echo(f"{result.outcome:<8} {result.kind} {result.component}{under}: {result.check}")
            for line in () if is_told else (*result.message.splitlines(), *result.advice.splitlines()):
                click.echo(f"    {line}")
    counts = Counter(result.outcome for result in found)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in found]))
    else:
        click.echo(", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped")))
    ctx.exit(1 if counts["failed"] else 0)
