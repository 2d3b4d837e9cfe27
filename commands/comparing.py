"""The command that compares systems: compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from .arguments import AS_JSON, Columns, column_option, registry_of


@click.command()
@click.argument("systems", nargs=-1, required=True, metavar="A B [C ...]")
@click.option("--split", metavar="NAME", help="Split to compare; by default test, or else val.")
@click.option(
    "--references",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Score all candidates against this file first. A, B, ... may then be files of candidates too.",
)
@click.option(
    "--metrics", metavar="NAME,NAME,...", help="Metrics to score with, as in `capfw score`; needs --references."
)
@click.option("--allow-missing", is_flag=True, help="Leave out images without a candidate; needs --references.")
@click.option("--allow-extra", is_flag=True, help="Leave out candidates without references; needs --references.")
@click.option("--allow-duplicates", is_flag=True, help="Take the first of several candidates; needs --references.")
@column_option("--column", "columns", "A column of the tables of candidates, as in `capfw score`; needs --references.")
@column_option("--reference-column", "reference_columns", "The same for the references' table.")
@click.option(
    "--resamples",
    "num_resamples",
    type=int,
    default=1000,
    show_default=True,
    help="Resamples of the bootstrap; the randomisation has 10 times as many trials.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the resamples.")
@click.option(
    "--images",
    "num_images",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Images to show that gained, and that lost most.",
)
@click.option("--by", metavar="SCORE", help="Score of the shown images; by default CIDEr where it was computed.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "latex"]),
    help="Form of the table; by default text.",
)
@AS_JSON
@click.pass_context
def compare(
    ctx: click.Context,
    systems: tuple[str, ...],
    split: str | None,
    references: Path | None,
    metrics: str | None,
    allow_missing: bool,
    allow_extra: bool,
    allow_duplicates: bool,
    columns: Columns,
    reference_columns: Columns,
    num_resamples: int,
    seed: int,
    num_images: int,
    by: str | None,
    form: str | None,
    as_json: bool,
) -> None:
    """Compare systems on the same images: B, C, ... with A.

    Each is a run directory, or a folder that `capfw evaluate --output` wrote. Several seeds of one setting are one system,
    with commas between: NAME=PATH,PATH,... The exit code does not depend on the result.
    """
    from ..core.comparing.comparison import compare_systems
    from ..core.comparing.systems import Rescoring, read_systems
    from ..core.comparing.tables import written

    allowed = {"allow_missing": allow_missing, "allow_extra": allow_extra, "allow_duplicates": allow_duplicates}
    if references is None:
        _refuse({"metrics": metrics, **allowed, "column": columns, "reference_column": reference_columns})
    if as_json and (form or by):
        raise click.UsageError("--json has every score and image: leave out --format and --by.")
    if form == "latex" and by:
        raise click.UsageError("the LaTeX table has no images: leave out --by.")
    rescoring = Rescoring(references, metrics, columns, reference_columns, **allowed) if references else None
    read = read_systems(systems, split=split, rescoring=rescoring, registry=registry_of(ctx))
    found = compare_systems(read, num_resamples=num_resamples, num_images=num_images, seed=seed)
    for notice in found.notices:
        click.echo(f"Note: {notice}", err=True)
    click.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else written(found, form or "text", by=by))


def _refuse(given: Mapping[str, object]) -> None:
    """Refuses the options that only scoring reads."""
    for name, value in given.items():
        if value:
            raise click.UsageError(
                f"--{name.replace('_', '-')} needs --references: stored scores are not computed again."
            )
