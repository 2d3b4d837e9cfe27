"""The command line: parse, call the engine, print, choose an exit code. Each command imports what it needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .core.engine.run import RunResult
    from .core.registry import Registry
    from .core.spec import RunSpec

SPEC = click.argument("spec", type=click.Path(path_type=Path))
SET = click.option(
    "--set", "overrides", multiple=True, metavar="POINTER=VALUE", help="Override one value: /train/epochs=1."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Group(click.Group):
    """Shows a user's error as its message; a traceback only with --debug."""

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
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--no-plugin", "skipped", multiple=True, metavar="NAME", help="Leave a plugin out (see `capfw plugins`).")
@click.version_option(package_name="capfw")
@click.pass_context
def main(ctx: click.Context, debug: bool, skipped: tuple[str, ...]) -> None:
    """Compose, train and score image captioners from plugins and one JSON spec."""
    ctx.obj = skipped


def _registry(ctx: click.Context) -> Registry:
    from .core.registry import Registry

    return Registry.discover(skip=ctx.find_root().obj)


def _load(ctx: click.Context, spec: Path, overrides: Sequence[str]) -> tuple[RunSpec, Registry]:
    from .core.spec import load_spec, parse_override

    registry = _registry(ctx)
    return load_spec(spec, registry=registry, overrides=dict(map(parse_override, overrides))), registry


def _run(ctx: click.Context, spec: Path, overrides: Sequence[str], until: str) -> RunResult:
    loaded, registry = _load(ctx, spec, overrides)
    from .core.engine.progress import ProgressDisplay
    from .core.engine.run import run

    return run(loaded, registry=registry, observers=[ProgressDisplay()], until=until)


@main.command("run")
@SPEC
@SET
@AS_JSON
@click.pass_context
def run_command(ctx: click.Context, spec: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Encode, train, caption, score and report what SPEC says; go on where an earlier call stopped."""
    result = _run(ctx, spec, overrides, "report")
    scores = dict(result.evaluation.scores) if result.evaluation else {}
    if as_json:
        split = result.evaluation.split if result.evaluation else None
        click.echo(json.dumps({"run_dir": str(result.run_dir), "split": split, "scores": scores}))
        return
    if result.evaluation:
        _table(f"Scores of split {result.evaluation.split}, {len(result.evaluation.captions)} images", scores)
    click.echo(f"Run directory: {result.run_dir}")
    if result.evaluation:
        click.echo(f"Report: {result.run_dir / 'report.html'}")
        click.echo(f"Caption images with it: capfw caption IMAGES... --run {result.run_dir}")


@main.command()
@SPEC
@SET
@click.pass_context
def extract(ctx: click.Context, spec: Path, overrides: tuple[str, ...]) -> None:
    """Encode the images of SPEC into the feature store, and stop."""
    click.echo(f"Run directory: {_run(ctx, spec, overrides, 'extract').run_dir}")


@main.command()
@SPEC
@SET
@click.pass_context
def train(ctx: click.Context, spec: Path, overrides: tuple[str, ...]) -> None:
    """Encode and train, without the final evaluation."""
    click.echo(f"Run directory: {_run(ctx, spec, overrides, 'train').run_dir}")


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--split", default=None, help="Split to caption and score; by default the final one (test, else val).")
@SET
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for candidates/ and scores/ (needed with --set)."
)
@AS_JSON
@click.pass_context
def evaluate(
    ctx: click.Context, run_dir: Path, split: str | None, overrides: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Caption and score a split with the best checkpoint of RUN_DIR. --set changes /generate and /metrics."""
    from .core.spec import parse_override

    changes = dict(map(parse_override, overrides))
    from .core.engine.progress import ProgressDisplay
    from .core.engine.run import evaluate_run

    evaluation = evaluate_run(
        run_dir, split, overrides=changes, output=output, registry=_registry(ctx), observers=[ProgressDisplay()]
    )
    if as_json:
        click.echo(
            json.dumps(
                {"split": evaluation.split, "scores": dict(evaluation.scores), "signature": evaluation.signature}
            )
        )
        return
    _table(f"Scores of split {evaluation.split}, {len(evaluation.captions)} images", dict(evaluation.scores))
    click.echo(f"Candidates and scores: {output or run_dir}")


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--run", "run_dir", required=True, type=click.Path(path_type=Path), help="Run directory of a trained captioner."
)
@click.option("--device", help='Device, such as "cpu" or "cuda:1"; by default the GPU where there is one.')
@AS_JSON
@click.pass_context
def caption(ctx: click.Context, images: tuple[Path, ...], run_dir: Path, device: str | None, as_json: bool) -> None:
    """Caption image files, and all images in folders, with a trained run."""
    registry = _registry(ctx)
    from .core.engine.captioner import Captioner, find_images
    from .core.errors import CapfwError, DataError

    files = find_images(images)
    if not files:
        raise DataError(
            "no images were found.", where=", ".join(map(str, images)), fix="Name image files or their folder."
        )
    captioner = Captioner.load(run_dir, device=device, registry=registry)
    num_failed = 0
    for source, captions in captioner.stream(files):
        if isinstance(captions, CapfwError):
            num_failed += 1
            click.echo(str(captions), err=True)
        elif as_json:
            made = [{"caption": each.text, "log_prob": each.log_prob} for each in captions]
            click.echo(json.dumps({"file": str(source), "captions": made}, ensure_ascii=False))
        else:
            click.echo("\n".join(f"{source}\t{each.text}" for each in captions))
    if num_failed:
        click.echo(f"{num_failed} of {len(files)} images could not be read.", err=True)
        ctx.exit(1)


@main.command()
@SPEC
@SET
@AS_JSON
@click.pass_context
def validate(ctx: click.Context, spec: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check SPEC: keys, types, ranges, components, input files, and whether the parts fit."""
    from .core.errors import SpecError

    try:
        loaded, _ = _load(ctx, spec, overrides)
    except SpecError as err:
        if as_json:
            problems = [{"pointer": p.pointer, "message": p.message, "fix": p.fix} for p in err.problems]
            click.echo(json.dumps({"valid": False, "problems": problems}))
            ctx.exit(err.exit_code)
        raise
    if as_json:
        click.echo(json.dumps({"valid": True, "problems": []}))
        return
    parts = ", ".join(
        f"{part.kind} {part.name}" for part in (loaded.data, loaded.encoder, loaded.mapper, loaded.decoder)
    )
    click.echo(f"{spec}: valid ({parts}).")
    click.echo("Checked: keys, types, ranges, components, the presence of input files, features against the mapper.")
    click.echo("Not checked: weights were not read, annotations not parsed, images not opened.")


@main.group(invoke_without_command=True)
@AS_JSON
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins and their components; `plugins show NAME` prints the options of one."""
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    found = _registry(ctx).plugins
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

    from .core.describe import describe

    found = describe(_registry(ctx), name)
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


@main.command()
@click.pass_context
def schema(ctx: click.Context) -> None:
    """Print the JSON Schema of a spec over everything installed."""
    from .core.schema import json_schema

    click.echo(json.dumps(json_schema(_registry(ctx)), indent=2))


@main.group("spec")
def spec_group() -> None:
    """Work with spec files."""


@spec_group.command()
@SPEC
@SET
@click.pass_context
def resolve(ctx: click.Context, spec: Path, overrides: tuple[str, ...]) -> None:
    """Print SPEC with every default written in; it runs again unchanged."""
    loaded, _ = _load(ctx, spec, overrides)
    click.echo(json.dumps(loaded.to_json(), indent=2))


def _table(title: str, scores: dict[str, float]) -> None:
    """Scores on stdout; CIDEr is unscaled (1.2, not 120)."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        table.add_row(name, f"{value:.4f}")
    Console(file=sys.stdout).print(table)
