"""Commands that build models: run, extract, train, evaluate, caption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import AS_JSON, SET, SPEC, load, print_scores, registry_of

if TYPE_CHECKING:
    from ..core.engine.run import RunResult, Stage


def _run(ctx: click.Context, spec: Path, overrides: Sequence[str], until: Stage) -> RunResult:
    loaded, registry = load(ctx, spec, overrides)
    from ..core.engine.observing.progress import ProgressDisplay
    from ..core.engine.run import run

    with ProgressDisplay() as display:
        result = run(loaded, registry=registry, observers=[display], until=until)
    _leave_printing_to_the_main_process(ctx)
    return result


def _leave_printing_to_the_main_process(ctx: click.Context) -> None:
    """Ends the other processes: each process that `torchrun` started runs this command."""
    from ..core.engine.opening import is_main_process

    if not is_main_process():
        ctx.exit(0)


@click.command("run")
@SPEC
@SET
@AS_JSON
@click.pass_context
def run_command(ctx: click.Context, spec: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Encode, train, caption, score and report, as in SPEC.

    The same command continues where an earlier call stopped.
    """
    result = _run(ctx, spec, overrides, "report")
    scores = dict(result.evaluation.scores) if result.evaluation else {}
    if as_json:
        split = result.evaluation.split if result.evaluation else None
        click.echo(json.dumps({"run_dir": str(result.run_dir), "split": split, "scores": scores}))
        return
    if result.evaluation:
        print_scores(f"Scores of split {result.evaluation.split}, {len(result.evaluation.captions)} images", scores)
    click.echo(f"Run directory: {result.run_dir}")
    if result.evaluation:
        click.echo(f"Report: {result.run_dir / 'report.html'}")
        click.echo(f"Caption images with it: capfw caption IMAGES... --run {result.run_dir}")


@click.command()
@SPEC
@SET
@click.pass_context
def extract(ctx: click.Context, spec: Path, overrides: tuple[str, ...]) -> None:
    """Encode the images of SPEC, and stop; `train` and `run` continue."""
    click.echo(f"Run directory: {_run(ctx, spec, overrides, 'extract').run_dir}")


@click.command()
@SPEC
@SET
@click.pass_context
def train(ctx: click.Context, spec: Path, overrides: tuple[str, ...]) -> None:
    """Encode and train, without the final evaluation; `run` continues."""
    click.echo(f"Run directory: {_run(ctx, spec, overrides, 'train').run_dir}")


@click.command()
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
    """Caption and score a split with a trained run.

    It uses the best checkpoint of RUN_DIR. --set changes /generate, /metrics, /data, /seed or /features/store.
    """
    from ..core.spec import parse_override

    changes = list(map(parse_override, overrides))
    from ..core.engine.observing.progress import ProgressDisplay
    from ..core.engine.run import evaluate_run

    with ProgressDisplay() as display:
        evaluation = evaluate_run(
            run_dir, split, overrides=changes, output=output, registry=registry_of(ctx), observers=[display]
        )
    _leave_printing_to_the_main_process(ctx)
    if as_json:
        click.echo(
            json.dumps(
                {"split": evaluation.split, "scores": dict(evaluation.scores), "signature": evaluation.signature}
            )
        )
        return
    print_scores(f"Scores of split {evaluation.split}, {len(evaluation.captions)} images", dict(evaluation.scores))
    click.echo(f"Candidates and scores: {output or run_dir}")


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--run", "run_dir", required=True, type=click.Path(path_type=Path), help="Run directory of a trained captioner."
)
@click.option("--device", help='Device, such as "cpu" or "cuda:1"; by default the GPU, or the CPU without one.')
@AS_JSON
@click.pass_context
def caption(ctx: click.Context, images: tuple[Path, ...], run_dir: Path, device: str | None, as_json: bool) -> None:
    """Caption images and folders of images with a trained run."""
    registry = registry_of(ctx)
    from ..core.engine.captioner import Captioner, find_images
    from ..core.errors import CapfwError, DataError

    files = find_images(images)
    if not files:
        raise DataError(
            "there are no images.", where=", ".join(map(str, images)), fix="Name image files or their folder."
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
