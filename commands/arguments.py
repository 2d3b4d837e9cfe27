"""The arguments and output that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

if TYPE_CHECKING:
    from ..core.protocols import Kind
    from ..core.registry import Registry
    from ..core.resampling import Interval
    from ..core.spec import RunSpec

FuncT = TypeVar("FuncT", bound=Callable[..., Any])
Pairs: TypeAlias = tuple[tuple[str, object], ...]
SPEC = click.argument("spec", type=click.Path(path_type=Path))


Columns: TypeAlias = dict[str, list[str]]


def column_option(flag: str, name: str, help: str) -> Callable[[FuncT], FuncT]:
    """The option that names the columns of a table, ROLE=NAME; its value maps each role to its names."""
    return click.option(flag, name, multiple=True, metavar="ROLE=NAME", callback=_by_role, help=help)


def _by_role(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> Columns:
    by_role: Columns = {}
    for text in texts:
        role, sign, name = text.partition("=")
        if not (role and sign and name):
            what = f'"{text}" is not ROLE=NAME, as in caption=Description.'
            raise click.BadParameter(what, param_hint=option.opts[0])
        by_role.setdefault(role, []).append(name)
    return by_role


def _parsed(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Pairs:
    """Refuses an override without a value before click complains of the value in the next word."""
    if not texts:
        return ()
    from ..core.spec import parse_override

    return tuple(map(parse_override, texts))


def set_option(words: str) -> Callable[[FuncT], FuncT]:
    """The option --set, with `words` as its help. A command gets the places and values in their order, as `Pairs`."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="POINTER=VALUE", callback=_parsed, help=f"{words}; repeatable."
    )


SET = set_option("Override a value of the spec (/train/epochs=1)")


def _device(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Refuses a device that this machine does not have, before the command does anything."""
    if name is not None:
        from ..core.engine.devices import parse_device

        parse_device(name)
    return name


def device_option(default: str) -> Callable[[FuncT], FuncT]:
    """The option --device; `default` ends its help."""
    words = f"Device that computes (cpu, cuda, cuda:1, mps, ...); {default}."
    return click.option("--device", metavar="NAME", callback=_device, help=words)


DEVICE = device_option("by default the GPU, or the CPU without one")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def component_names(*kinds: Kind) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the name of a component of these kinds, of all kinds by default, in a shell."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
        from ..core.protocols import KINDS
        from ..core.registry import Registry

        registry = Registry.discover()
        names = {component.name for kind in kinds or KINDS for component in registry.components(kind)}
        return sorted(name for name in names if name.startswith(begun))

    return complete


def registry_of(ctx: click.Context) -> Registry:
    """The registry of every installed plugin, without those in `--no-plugin`."""
    from ..core.registry import Registry

    return Registry.discover(skip=ctx.find_root().obj)


def load(ctx: click.Context, spec: Path, overrides: Pairs) -> tuple[RunSpec, Registry]:
    """The spec in a file with the values of `--set`, and its registry."""
    from ..core.spec import load_spec

    registry = registry_of(ctx)
    return load_spec(spec, registry=registry, overrides=overrides), registry


def print_scores(title: str, scores: Mapping[str, float], intervals: Mapping[str, Interval]) -> None:
    """Prints scores and their intervals on stdout, below a title; CIDEr is unscaled (1.2, not 120)."""
    from rich.console import Console
    from rich.table import Table

    click.echo(title)  # a table would wrap its title at its own width
    table = Table()
    for heading in ("score", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name, value in scores.items():
        ends = intervals.get(name)
        table.add_row(name, f"{value:.4f}", f"{ends.low:.4f} to {ends.high:.4f}" if ends else "")
    Console(file=sys.stdout).print(table)


def scores_as_json(scores: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, object]:
    """Returns the scores, and their intervals with the method, as JSON values."""
    from ..core.results import interval_record

    return {"scores": dict(scores), **interval_record(intervals)}


def in_words(seconds: float) -> str:
    """A duration to two significant units: "8 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def in_bytes(num_bytes: int) -> str:
    """A size: "512 bytes", "3.4 kB", "12.0 MB", "1.5 GB"; 1 MB is 10^6 bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"
