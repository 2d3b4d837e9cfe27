"""Settings: combinations of values of a sweep. From a grid and a list all of them, from a space a random sample."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from ..errors import Problem, SpecError
from ..options.problems import pointer
from .sweep_spec import Range, Sweep

_DRAWS_PER_SETTING = 1000
_DIGITS = 4  # significant digits of a number that is drawn, so that it can be read and written down


@dataclass(frozen=True)
class Change:
    """One value of a setting: its place in the spec, and the place in the sweep file that it comes from."""

    place: str
    value: JsonValue
    origin: str


@dataclass(frozen=True)
class Setting:
    """The changes to the base spec that one or more trials (one per seed) have in common."""

    changes: tuple[Change, ...]

    @property
    def values(self) -> dict[str, JsonValue]:
        """The values by their places in the spec."""
        return {change.place: change.value for change in self.changes}


def settings_of(sweep: Sweep) -> list[Setting]:
    """The settings of a grid, a list, or a random sample. Raises `SpecError` where a space has too few settings."""
    return _drawn(sweep) if sweep.space else list(_combined(sweep))


def corners_of(sweep: Sweep) -> list[Setting]:
    """Settings that together have every listed value of a space, and both ends of each range."""
    ends: dict[str, list[Change]] = {}
    for place, values in sweep.space.items():
        origin = "/space" + pointer([place])
        if isinstance(values, Range):
            ends[place] = [Change(place, _number(values, value), origin) for value in (values.low, values.high)]
        else:
            ends[place] = _choices(place, values, origin)
    most = max(map(len, ends.values()))
    return [Setting(tuple(changes[min(i, len(changes) - 1)] for changes in ends.values())) for i in range(most)]


def _combined(sweep: Sweep) -> Iterator[Setting]:
    listed = [
        tuple(Change(place, value, f"/list/{index}{pointer([place])}") for place, value in setting.items())
        for index, setting in enumerate(sweep.list_)
    ]
    columns = [_choices(place, values, "/grid" + pointer([place])) for place, values in sweep.grid.items()]
    for changes, combination in itertools.product(listed or [()], itertools.product(*columns)):
        yield Setting((*changes, *combination))


def _choices(place: str, values: Sequence[JsonValue], origin: str) -> list[Change]:
    return [Change(place, value, f"{origin}/{index}") for index, value in enumerate(values)]


def _drawn(sweep: Sweep) -> list[Setting]:
    """`sweep.num` different settings. A larger number begins with the same settings as a smaller one."""
    assert sweep.num is not None
    rng, found = random.Random(sweep.search_seed), dict[str, Setting]()
    for _ in range(_DRAWS_PER_SETTING * sweep.num):
        drawn = Setting(tuple(_draw(place, values, rng) for place, values in sweep.space.items()))
        found.setdefault(json.dumps(drawn.values, sort_keys=True), drawn)
        if len(found) == sweep.num:
            return list(found.values())
    what = f"/space has only {len(found)} different settings, fewer than {sweep.num}."
    raise SpecError([Problem("/num", what, 'Lower it, or use "grid" for all of them.')], source=sweep.source)


def _draw(place: str, values: object, rng: random.Random) -> Change:
    origin = "/space" + pointer([place])
    if not isinstance(values, Range):
        assert isinstance(values, tuple)
        index = rng.randrange(len(values))
        return Change(place, values[index], f"{origin}/{index}")
    if values.integer and not values.log:
        return Change(place, rng.randint(int(values.low), int(values.high)), origin)
    low, high = (math.log(values.low), math.log(values.high)) if values.log else (values.low, values.high)
    drawn = rng.uniform(low, high)
    return Change(place, _number(values, math.exp(drawn) if values.log else drawn), origin)


def _number(values: Range, drawn: float) -> JsonValue:
    """A number of the range with few digits."""
    if values.integer:
        return min(max(round(drawn), int(values.low)), int(values.high))
    return min(max(float(f"{drawn:.{_DIGITS}g}"), values.low), values.high)
