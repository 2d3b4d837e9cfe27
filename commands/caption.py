"""The command that captions images with a trained run: caption."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from .arguments import AS_JSON, DEVICE, Pairs, in_bytes, in_words, registry_of, set_option

if TYPE_CHECKING:
    from ..core.engine.caption_files import CaptionsFile
    from ..core.engine.captioner import Captioner
    from ..core.engine.captioning import Row
    from ..core.engine.inputs.finding import FoundImages
    from ..core.protocols import GenerateOptions
    from ..core.registry import Registry

_NUM_NAMED = 5  # skipped paths that a message names


@click.command()
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--run", "run_dir", required=True, type=click.Path(path_type=Path), help="Run directory of a trained captioner."
)
@click.option("-n", "num_captions", type=click.IntRange(1), metavar="N", help="Captions per image.")
@set_option("Change how the run generates (/generate/method=beam)")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the captions to FILE.txt, .csv, .jsonl or .json (COCO's results), not to stdout. "
    "The same command continues an interrupted one.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Caption only the first N images.")
@click.option("--allow-urls", is_flag=True, help="Download the images behind http and https URLs.")
@click.option("-0", "--null", "is_null", is_flag=True, help="The list on stdin has NUL between paths, not line ends.")
@click.option("--dry-run", is_flag=True, help="Only count the images, and estimate time and output from a few of them.")
@DEVICE
@AS_JSON
@click.pass_context
def caption(
    ctx: click.Context,
    images: tuple[str, ...],
    run_dir: Path,
    num_captions: int | None,
    overrides: Pairs,
    output: Path | None,
    force: bool,
    limit: int | None,
    allow_urls: bool,
    is_null: bool,
    dry_run: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Caption images with a trained run.

    IMAGES are files, folders, quoted patterns ('photos/**/*.jpg'), URLs, or - for a list of them on stdin.
    """
    named = list(_named(images, is_null=is_null))
    if as_json and output is not None and not dry_run:
        raise click.UsageError("--json and --output: the ending of FILE gives the format. Leave --json out.")
    if force and output is None:
        raise click.UsageError("--force overwrites FILE. Add --output FILE, or leave --force out.")
    registry = registry_of(ctx)
    from ..core.engine.caption_files import require_output
    from ..core.engine.inputs.finding import find_images

    if output is not None:
        require_output(output, is_forced=force)
    options, facts = _request(run_dir, overrides, num_captions, registry)
    found = find_images(named, allow_urls=allow_urls, limit=limit)
    _report_skipped(found)
    _require_images(found, named)
    load = _loader(run_dir, device, registry)
    if dry_run:
        _print_estimate(found, load(), options, output, as_json=as_json)
        return
    if output is None:
        made = _caption_to_stdout(found, load(), options, as_json=as_json)
    else:
        made = _caption_to_file(found, load, options, output, facts, is_forced=force)
    _close(ctx, found, made)


def _named(images: Iterable[str], *, is_null: bool) -> Iterator[str]:
    """The arguments, with the list on stdin in place of "-"."""
    if is_null and "-" not in images:
        raise click.UsageError("-0 is about the list on stdin. Add - to IMAGES, or leave -0 out.")
    for each in images:
        if each != "-":
            yield each
            continue
        content = sys.stdin.buffer.read().removeprefix(b"\xef\xbb\xbf")
        items = content.split(b"\0") if is_null else [line.rstrip(b"\r") for line in content.split(b"\n")]
        yield from (os.fsdecode(item) for item in items if item)


def _request(
    run_dir: Path, overrides: Pairs, num_captions: int | None, registry: Registry
) -> tuple[GenerateOptions, Mapping[str, object]]:
    """The options of generation, and the facts on which the captions of an image depend."""
    from ..core.engine.captioning import changed_generation
    from ..core.engine.run_directory import open_run
    from ..core.spec import load_spec

    directory = open_run(run_dir)
    spec = load_spec(directory.path / "spec.json", registry=registry, check_files=False)
    options = changed_generation(spec, overrides, num_captions, registry=registry)
    generate = options.model_dump(mode="json", exclude={"batch_size", "use_cache"})
    step = directory.best_checkpoint().step
    return options, {"run": str(directory.path.resolve()), "step": step, "generate": generate}


def _loader(run_dir: Path, device: str | None, registry: Registry) -> Callable[[], Captioner]:
    from ..core.engine.captioner import Captioner

    return lambda: Captioner.load(run_dir, device=device, registry=registry)


def _require_images(found: FoundImages, named: list[str]) -> None:
    from ..core.errors import DataError, listed

    if not found.images:
        skipped = f" Skipped: {_counts(found.reasons())}." if found.skipped else ""
        where, fix = listed(named, _NUM_NAMED) or "-", "Name image files or their folder."
        raise DataError(f"there are no images.{skipped}", where=where, fix=fix)


def _report_skipped(found: FoundImages) -> None:
    """Names on stderr what is not captioned: each failure, and the first paths of every other reason."""
    from ..core.engine.caption_files import printable
    from ..core.errors import listed

    names: dict[str, list[str]] = {}
    for each in found.skipped:
        if each.is_failure:
            click.echo(f"{printable(each.name)}: {each.reason}", err=True)
        else:
            names.setdefault(each.reason, []).append(printable(each.name))
    for reason, paths in names.items():
        click.echo(f"Skipped: {reason}: {len(paths)} ({listed(paths, _NUM_NAMED)})", err=True)


def _print_estimate(
    found: FoundImages, captioner: Captioner, options: GenerateOptions, output: Path | None, *, as_json: bool
) -> None:
    """Prints the counts, and the time and output that the measured images predict."""
    from ..core.engine.caption_files import formatter
    from ..core.engine.captioning import estimate
    from ..core.protocols.images import missing_decoder

    by_type = found.by_type()
    ending = output.suffix.lower() if output else ".jsonl" if as_json else ".txt"
    about = estimate(captioner, found, options, formatter(ending, found.names))
    lacking = [reason for name in by_type if (reason := missing_decoder(name))]
    if as_json:
        known = {"images": len(found), "by_type": by_type, "skipped": found.reasons(), "cannot_decode": lacking}
        click.echo(json.dumps({**known, **asdict(about)}))
        return
    click.echo(f"Images: {len(found)} ({_counts(by_type)})")
    for reason in lacking:
        click.echo(f"Cannot be decoded: {reason}")
    if found.reasons():
        click.echo(f"Skipped: {_counts(found.reasons())}")
    bad = f", {about.num_unreadable} of them unreadable" if about.num_unreadable else ""
    click.echo(
        f"Time on {captioner.device}: about {in_words(about.seconds)} (measured on {about.num_measured} images{bad})"
    )
    click.echo(f"Output: about {in_bytes(about.num_bytes)}{f' in {output}' if output else ''}")


def _caption_to_stdout(
    found: FoundImages, captioner: Captioner, options: GenerateOptions, *, as_json: bool
) -> dict[str, str | None]:
    from ..core.engine.caption_files import json_line_of, text_of
    from ..core.engine.captioning import caption_rows

    made: dict[str, str | None] = {}
    write = json_line_of if as_json else text_of
    out: TextIO = sys.stdout  # the progress bar replaces it
    with _progress(len(found), is_shown=not out.isatty()) as progress:
        for row in caption_rows(captioner, found.sources(), options):
            made[row.name] = _reported(row)
            click.echo(write(row), file=out, nl=False)
            progress(len(made))
    return made


def _caption_to_file(
    found: FoundImages,
    load: Callable[[], Captioner],
    options: GenerateOptions,
    output: Path,
    facts: Mapping[str, object],
    *,
    is_forced: bool,
) -> dict[str, str | None]:
    from ..core.engine.caption_files import CaptionsFile
    from ..core.engine.captioning import caption_rows

    file = CaptionsFile(output, facts, is_forced=is_forced)
    made = {name: file.done[name] for name in found.names if name in file.done}
    if made:
        click.echo(f"Continuing: {len(made)} of {len(found)} images are in {file.part}.", err=True)
    with _kept(file, len(found)), _progress(len(found), is_shown=True) as progress:
        if len(made) < len(found):
            waiting = filter(lambda source: source.name not in made, found.sources())
            for row in caption_rows(load(), waiting, options):
                made[row.name] = _reported(row)
                file.add(row)
                progress(len(made))
        file.finish(found.names)
    click.echo(f"Captions: {output}")
    return made


@contextmanager
def _kept(file: CaptionsFile, num_images: int) -> Iterator[None]:
    """Reports where the captions are when captioning stops before its end."""
    try:
        yield
    except BaseException:
        file.close()
        if file.done:
            what = f"Stopped after {len(file.done)} of {num_images} images."
            click.echo(f"{what} The same command continues {file.part}.", err=True)
        raise


@contextmanager
def _progress(num_images: int, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields a function that shows on stderr how many images are done; at the end the closing line says it."""
    from ..core.engine.observing.progress import ProgressDisplay
    from ..core.protocols import Progress

    with ProgressDisplay() if is_shown else nullcontext() as display:

        def show(done: int) -> None:
            if display is not None and done < num_images:
                display.progressed(Progress("caption", done, num_images, "images"))

        yield show


def _reported(row: Row) -> str | None:
    """The error of a row, printed on stderr."""
    from ..core.engine.caption_files import printable

    if row.error is not None:
        click.echo(f"{printable(row.name)}: {row.error}", err=True)
    return row.error


def _close(ctx: click.Context, found: FoundImages, made: Mapping[str, str | None]) -> None:
    """Prints on stderr how many images have captions, and how many have none and why; exits with 1 after a failure."""
    errors = Counter(error.partition(": ")[0] for error in made.values() if error is not None)
    reasons = {**found.reasons(), **errors}
    num_captioned = len(made) - errors.total()
    line = f"captioned {num_captioned} image{'s' * (num_captioned != 1)}"
    click.echo(line + (f", skipped {sum(reasons.values())}: {_counts(reasons)}" if reasons else ""), err=True)
    if errors or any(each.is_failure for each in found.skipped):
        ctx.exit(1)


def _counts(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{reason}: {count}" for reason, count in reasons.items())
