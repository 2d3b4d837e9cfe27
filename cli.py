"""The command line. A user's error becomes a message and an exit code. The commands are in `commands/`."""

from __future__ import annotations

from typing import Any

import click

from .commands import (
    authoring,
    caption,
    comparing,
    exports,
    imports,
    init,
    plugins,
    runs,
    scores,
    specs,
    sweeps,
    view,
)


class _Group(click.Group):
    """Prints a user's error as a message, and a traceback only with --debug. Lists the commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as err:
            if ctx.params.get("debug"):
                raise
            from .core.errors import CapfwError

            if isinstance(err, CapfwError):
                click.echo(str(err), err=True)
                ctx.exit(err.exit_code)
            click.echo(
                f"unexpected {type(err).__name__}: {err}\n  Run again with `capfw --debug ...` for a traceback.",
                err=True,
            )
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
@click.option("--no-plugin", "skipped", multiple=True, metavar="NAME", help="Leave a plugin out (see `capfw plugins`).")
@click.version_option(package_name="capfw")
@click.pass_context
def main(ctx: click.Context, debug: bool, skipped: tuple[str, ...]) -> None:
    """Compose, train and score image captioners from plugins and one JSON spec."""
    ctx.obj = skipped


for command in (
    init.init,
    specs.validate,
    runs.run_command,
    runs.extract,
    runs.train,
    runs.evaluate,
    sweeps.sweep,
    caption.caption,
    scores.score,
    comparing.compare,
    view.view,
    imports.import_group,
    exports.export,
    plugins.plugins,
    authoring.new,
    specs.spec_group,
    specs.schema,
):
    main.add_command(command)
