"""Commands that perform a run, or a part of it: run, extract, train, evaluate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import (
    AS_JSON,
    DEVICE,
    SET,
    SPEC,
    Pairs,
    in_bytes,
    in_words,
    load,
    print_scores,
    registry_of,
    scores_as_json,
)

if TYPE_CHECKING:
    from ..core.engine.evaluation import Evaluation
    from ..core.engine.run import RunResult, Stage


def _run(ctx: click.Context, spec: Path, overrides: Pairs, until: Stage, device: str | None) -> RunResult:
    loaded, registry = load(ctx, spec, overrides)
    from ..core.engine.observing.progress import ProgressDisplay
    from ..core.engine.run import run

    with ProgressDisplay() as display:
        result = run(loaded, registry=registry, observers=[display], until=until, device=device)
    _leave_printing_to_the_main_process(ctx)
    return result


def _print_evaluation(evaluation: Evaluation) -> None:
    title = f"Scores of split {evaluation.split}, {len(evaluation.captions)} images"
    print_scores(title, evaluation.scores, evaluation.intervals)


def _leave_printing_to_the_main_process(ctx: click.Context) -> None:
    """Ends the other processes: each process that `torchrun` started runs this command."""
    from ..core.engine.opening import is_main_process

    if not is_main_process():
        ctx.exit(0)


@click.command("run")
@SPEC
@SET
@DEVICE
@AS_JSON
@click.pass_context
def run_command(ctx: click.Context, spec: Path, overrides: Pairs, device: str | None, as_json: bool) -> None:
    """Encode, train, caption, score and report, as in SPEC.

    The same command continues where an earlier call stopped.
    """
    result = _run(ctx, spec, overrides, "report", device)
    evaluation = result.evaluation
    if as_json:
        found = scores_as_json(evaluation.scores, evaluation.intervals) if evaluation else {"scores": {}}
        split = evaluation.split if evaluation else None
        click.echo(json.dumps({"run_dir": str(result.run_dir), "split": split, **found}))
        return
    if evaluation:
        _print_evaluation(evaluation)
    click.echo(f"Run directory: {result.run_dir}")
    if evaluation:
        click.echo(f"Report: {result.run_dir / 'report.html'}")
        click.echo(f"Caption images with it: capfw caption IMAGES... --run {result.run_dir}")


@click.command()
@SPEC
@SET
@DEVICE
@click.option("--dry-run", is_flag=True, help="Only count the images, and estimate time and disk from a few of them.")
@AS_JSON
@click.pass_context
def extract(ctx: click.Context, spec: Path, overrides: Pairs, device: str | None, dry_run: bool, as_json: bool) -> None:
    """Encode the images of SPEC, and stop; `train` and `run` continue."""
    if dry_run:
        _print_plan(ctx, spec, overrides, device, as_json=as_json)
        return
    run_dir = str(_run(ctx, spec, overrides, "extract", device).run_dir)
    click.echo(json.dumps({"run_dir": run_dir}) if as_json else f"Run directory: {run_dir}")


def _print_plan(ctx: click.Context, spec: Path, overrides: Pairs, device: str | None, *, as_json: bool) -> None:
    """Prints the work that `extract` would do."""
    loaded, _ = load(ctx, spec, overrides)
    from ..core.engine.inputs.planning import plan_extraction

    plan = plan_extraction(loaded, device=device)
    if as_json:
        click.echo(json.dumps(asdict(plan)))
        return
    for split, num_images in plan.num_images.items():
        num_stored = plan.num_stored[split]
        click.echo(
            f"{split}: {num_images} images, {num_stored} have features, {num_images - num_stored} left to encode"
        )
    click.echo(f"Types: {', '.join(f'{name}: {count}' for name, count in plan.by_type.items())}")
    bad = f", {plan.num_unreadable} of them unreadable" if plan.num_unreadable else ""
    measured = f" (measured on {plan.num_measured} images{bad})" if plan.num_measured else ""
    click.echo(f"Time on {plan.device}: about {in_words(plan.seconds)}{measured}")
    click.echo(
        f"Disk: about {in_bytes(plan.num_bytes)} in {plan.store}" if plan.store else "Disk: none; the encoder is tuned."
    )


@click.command()
@SPEC
@SET
@DEVICE
@click.pass_context
def train(ctx: click.Context, spec: Path, overrides: Pairs, device: str | None) -> None:
    """Encode and train, without the final evaluation; `run` continues."""
    click.echo(f"Run directory: {_run(ctx, spec, overrides, 'train', device).run_dir}")


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--split", default=None, help="Split to caption and score; by default the final one (test, else val).")
@SET
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for candidates/ and scores/ (needed with --set)."
)
@click.option("--allow-programs", is_flag=True, help="Let metrics of the run run the programs that its spec names.")
@DEVICE
@AS_JSON
@click.pass_context
def evaluate(
    ctx: click.Context,
    run_dir: Path,
    split: str | None,
    overrides: Pairs,
    output: Path | None,
    allow_programs: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Caption and score a split with a trained run.

    It uses the best checkpoint of RUN_DIR. --set changes /generate, /metrics, /data, /seed or /features/store.
    """
    from ..core.engine.observing.progress import ProgressDisplay
    from ..core.engine.run import evaluate_run

    with ProgressDisplay() as display:
        evaluation = evaluate_run(
            run_dir,
            split,
            overrides=overrides,
            output=output,
            registry=registry_of(ctx),
            observers=[display],
            device=device,
            allow_programs=allow_programs,
        )
    _leave_printing_to_the_main_process(ctx)
    if as_json:
        found = scores_as_json(evaluation.scores, evaluation.intervals)
        click.echo(json.dumps({"split": evaluation.split, **found, "signature": evaluation.signature}))
        return
    _print_evaluation(evaluation)
    click.echo(f"Candidates and scores: {output or run_dir}")
