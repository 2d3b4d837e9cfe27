"""The command that shows runs and result files in a browser: view."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import Pairs, registry_of, set_option

if TYPE_CHECKING:
    from ..core.registry import Registry
    from ..core.viewing.collection import Collection
    from ..core.viewing.heat import HeatOf

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run_dirs", nargs=-1, metavar="[RUN_DIR]...", type=_PATH)
@click.option(
    "--split",
    help="Split to show; by default test, or val where not every run has results of test. With --references, the split "
    "of their file.",
)
@set_option("Override a value of /data, such as /data/images")
@click.option(
    "--candidates",
    multiple=True,
    type=_PATH,
    help="Files of captions in place of runs, in any format of `capfw score`.",
)
@click.option("--references", type=_PATH, help="File of references for --candidates.")
@click.option("--images", type=_PATH, help="Folder of the photos for --candidates.")
@click.option("--metrics", "chosen", metavar="NAME,NAME,...", help="Metrics for --candidates, as in `capfw score`.")
@click.option("--output", type=_PATH, help="Write the page into this new folder, and start no server.")
@click.option(
    "--picture-side",
    type=click.IntRange(0, 4096),
    help="Longest side of the pictures in --output, in pixels; 448 by default. 0 leaves the pictures out.",
)
@click.option(
    "--heat-maps",
    metavar="ID,ID,...",
    help='Images whose words get heat maps in --output, by id, or "all"; the server computes them on demand.',
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the server; by default a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@click.pass_context
def view(
    ctx: click.Context,
    run_dirs: tuple[Path, ...],
    split: str | None,
    overrides: Pairs,
    candidates: tuple[Path, ...],
    references: Path | None,
    images: Path | None,
    chosen: str | None,
    output: Path | None,
    picture_side: int | None,
    heat_maps: str | None,
    port: int | None,
    no_browser: bool,
) -> None:
    """Show the images and captions of runs in a browser.

    It takes one to four runs, or as many result files: --candidates a.json b.json --references refs.json --images DIR.
    The server listens on 127.0.0.1 until Ctrl+C. With --output the page is a folder that opens from disk
    and works on any web host.
    """
    if candidates:  # "--candidates a.json b.json": click leaves the second file to the arguments
        candidates, run_dirs = (*candidates, *run_dirs), ()
    _require_one_form(run_dirs, split, overrides, candidates, references, images, chosen)
    for name, value in {"--picture-side": picture_side, "--heat-maps": heat_maps}.items():
        if output is None and value is not None:
            raise click.UsageError(f"{name} needs --output.")
    if heat_maps is not None and candidates:
        raise click.UsageError("--heat-maps needs runs: files have no model.")
    if output is not None and (port is not None or no_browser):
        raise click.UsageError("--output starts no server: leave --port and --no-browser out.")
    registry = registry_of(ctx)

    def collect() -> Collection:
        if run_dirs:
            from ..core.viewing.runs import view_runs

            return view_runs(run_dirs, split, overrides=overrides, registry=registry)
        return _view_files(registry, candidates, references, images, split, chosen)

    if output is not None:
        ids = heat_maps.split(",") if heat_maps else []
        _export(collect, output, picture_side, ids, _heat(run_dirs, registry) if ids else None)
    else:
        _serve(collect, run_dirs, split, port or 0, _heat(run_dirs, registry), opens_browser=not no_browser)


def _require_one_form(
    run_dirs: tuple[Path, ...],
    split: str | None,
    overrides: Pairs,
    candidates: tuple[Path, ...],
    references: Path | None,
    images: Path | None,
    chosen: str | None,
) -> None:
    """Raises `click.UsageError` where options of the two forms are mixed, or where neither is given."""
    if not run_dirs and not candidates:
        raise click.UsageError("Name one to four run directories, or files with --candidates.")
    of_files = {"--references": references, "--images": images, "--metrics": chosen}
    of_runs = {"--set": overrides}
    for name, value in (of_files if run_dirs else of_runs).items():
        if value:
            raise click.UsageError(f"{name} belongs to {'--candidates' if run_dirs else 'run directories'}.")
    for name, value in {"--metrics": chosen, "--split": split}.items() if candidates else ():
        if value and references is None:
            raise click.UsageError(f"{name} needs --references.")


def _view_files(
    registry: Registry,
    candidates: tuple[Path, ...],
    references: Path | None,
    images: Path | None,
    split: str | None,
    chosen: str | None,
) -> Collection:
    from ..core.protocols import MetricConfig, narrowed
    from ..core.scoring import choose_parts
    from ..core.viewing.result_files import view_files

    parts = choose_parts(registry, chosen) if references is not None else []
    return view_files(
        candidates,
        references,
        images,
        registry=registry,
        split=split,
        metrics=[part.build() for part in parts],
        lower_is_better=[name for part in parts for name in narrowed(part.config, MetricConfig).lower_is_better()],
    )


def _heat(run_dirs: Sequence[Path], registry: Registry) -> HeatOf | None:
    """Computes heat maps of the runs; None for files. It imports torch when it is first asked."""
    if not run_dirs:
        return None

    @cache
    def mapper() -> HeatOf:
        from ..core.engine.heat import HeatMapper

        return HeatMapper(run_dirs, registry)

    return lambda system, source, caption: mapper()(system, source, caption)


def _export(
    collect: Callable[[], Collection],
    output: Path,
    picture_side: int | None,
    heat_ids: Sequence[str],
    heat: HeatOf | None,
) -> None:
    from ..core.viewing.export import export, require_new
    from ..core.viewing.pictures import GRID_SIDE

    require_new(output)
    collection = collect()
    _print_notices(collection)
    with click.progressbar(length=len(collection.images), label="pictures", file=sys.stderr) as bar:
        page = export(
            collection,
            output,
            picture_side=GRID_SIDE if picture_side is None else picture_side,
            heat=heat,
            heat_ids=heat_ids,
            progress=lambda done, _: bar.update(max(0, done - bar.pos)),
        )
    click.echo(f"Page: {page}")


def _serve(
    collect: Callable[[], Collection],
    run_dirs: Sequence[Path],
    split: str | None,
    port: int,
    heat: HeatOf | None,
    *,
    opens_browser: bool,
) -> None:
    from ..core.viewing.runs import results_version, systems_of
    from ..core.viewing.server import Server, Viewer

    viewer = Viewer(
        collect,
        (lambda: results_version(run_dirs, split)) if run_dirs else None,
        (lambda collection: systems_of(run_dirs, collection.split)) if run_dirs else None,
        heat,
    )
    _print_notices(viewer.collection)
    with Server(viewer, port) as server:
        click.echo(f"Page: {server.address}")
        click.echo("Ctrl+C ends it.", err=True)
        if opens_browser:
            webbrowser.open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _print_notices(collection: Collection) -> None:
    for notice in collection.notices:
        click.echo(f"Note: {notice}", err=True)
