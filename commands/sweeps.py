"""The command that runs many settings of one spec: sweep."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import AS_JSON, DEVICE

if TYPE_CHECKING:
    from ..core.sweeping import Sweep, SweepResults

_FILE_WIDTH = 160  # columns of a table that no terminal shows


@click.command()
@click.argument("sweep_file", metavar="SWEEP", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trials that run at once.")
@DEVICE
@click.option("--dry-run", is_flag=True, help="Check and print the trials, and run none.")
@click.option(
    "--table",
    "is_table",
    is_flag=True,
    help="Print the results so far, and run nothing. SWEEP may be the sweep's folder.",
)
@AS_JSON
@click.pass_context
def sweep(
    ctx: click.Context, sweep_file: Path, jobs: int, device: str | None, dry_run: bool, is_table: bool, as_json: bool
) -> None:
    """Run many settings of a spec, and rank them.

    The file SWEEP lists the settings; their val score ranks them. Each trial is a run of its own, with its own directory.
    The same command continues where an earlier call stopped, and tries failed runs again. The exit code is 1 when a run
    failed.
    """
    from ..core.sweeping import load_sweep, run_sweep, sweep_results

    if is_table and dry_run:
        raise click.UsageError("--table runs nothing: leave out --dry-run.")
    if is_table:
        folder = sweep_file if sweep_file.is_dir() else load_sweep(sweep_file).folder
        _print_results(sweep_results(folder), as_json=as_json)
        return
    loaded = load_sweep(sweep_file)
    if dry_run:
        _print_trials(ctx, loaded, as_json=as_json)
        return
    results = run_sweep(
        loaded, jobs=jobs, device=device, skip=ctx.find_root().obj, tell=lambda text: click.echo(text, err=True)
    )
    _print_results(results, as_json=as_json)
    ctx.exit(1 if results.count("failed") else 0)


def _print_trials(ctx: click.Context, sweep: Sweep, *, as_json: bool) -> None:
    """Prints the trials and the state of each. Those of a search are chosen later, from the scores of earlier ones."""
    from ..core.sweeping import plan_sweep

    trials = plan_sweep(sweep, skip=ctx.find_root().obj)
    if as_json:
        click.echo(json.dumps([{"name": t.name, "setting": t.setting, "seed": t.seed, "state": s} for t, s in trials]))
        return
    for trial, state in trials:
        click.echo(f"{trial.name}{'' if state == 'unfinished' else f' ({state})'}")
    num_seeds = max(1, len(sweep.seeds))
    if sweep.search == "tpe":
        click.echo(f"{sweep.num} settings of {num_seeds} trials each, chosen while the sweep runs; valid.")
    else:
        click.echo(f"{len(trials)} trials: {len(trials) // num_seeds} settings of {num_seeds} each; valid.")
    click.echo(f"Folder: {sweep.folder}")


def _print_results(results: SweepResults, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(results.to_json()))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..core.sweeping import tables

    click.echo(tables.caption_of(results))
    table = Table()
    for head in tables.header(results):
        table.add_column(head, justify="left" if head in results.columns else "right")
    for row in tables.rows(results):
        table.add_row(*map(Text, row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)
    for name, error in tables.failures(results):
        click.echo(f"Failed: {name}: {error}")
    for notice in results.notices:
        click.echo(f"Note: {notice}")
    if results.chosen is not None:
        click.echo(f"Best on val: {tables.setting_in_words(results.chosen, results.columns)}")
    if results.test:
        click.echo(f"Its scores on test: {', '.join(f'{name} {mean}' for name, mean in results.test.items())}")
    click.echo(f"Results: {results.folder / tables.FILES[0]}, and as .csv and .md")
    _print_next_commands(results)


def _print_next_commands(results: SweepResults) -> None:
    """Prints the commands that go on with the two best settings."""
    best = [
        [str(trial.run_dir) for trial in setting.finished] for setting in results.settings if setting.rank in (1, 2)
    ]
    if len(best) < 2:
        return
    # On val: the comparison on test is for the chosen setting, against a system of another origin.
    groups = (f"{name}={','.join(runs)}" for name, runs in zip(("first", "second"), best, strict=True))
    click.echo(f"Compare the two best: {shlex.join(['capfw', 'compare', *groups, '--split', 'val'])}")
    click.echo(f"Look at them: {shlex.join(['capfw', 'view', *(runs[0] for runs in best)])}")
