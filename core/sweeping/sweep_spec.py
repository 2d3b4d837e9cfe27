"""The sweep file: a base spec, the values to try, and seeds. See `load_sweep`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from ..errors import Problem, SpecError
from ..options.problems import from_pydantic, pointer
from ..protocols import OutputPath
from ..spec.document import read_document

_OWN_PLACES = {
    "/capfw": "Leave it out: it is the version of the format.",
    "/run_dir": "Leave it out: each trial has its own run directory in /folder.",
    "/seed": 'List the seeds under "seeds".',
}


def _json_pointer(place: str) -> str:
    if not place.startswith("/"):
        raise ValueError(f'a JSON pointer begins with a slash: write "/{place.replace(".", "/")}"')
    if place in _OWN_PLACES:
        raise ValueError(f"a sweep cannot change {place}. {_OWN_PLACES[place]}")
    return place


PlaceInSpec: TypeAlias = Annotated[str, AfterValidator(_json_pointer)]
"""A JSON pointer into a run spec, such as "/train/lr"."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Range(_Model):
    """A range of numbers from which a search draws."""

    low: float = Field(description="Lowest value.")
    high: float = Field(description="Highest value, included.")
    log: bool = Field(False, description="Draw uniformly on a logarithmic scale.")
    integer: bool = Field(False, description="Draw whole numbers.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low, {self.low:g}, must be less than high, {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("low must be more than 0 on a logarithmic scale")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high must be whole numbers where integer is true")
        return self


Choices: TypeAlias = Annotated[tuple[JsonValue, ...], Field(min_length=1)]


class Sweep(_Model):
    """A base spec, the values to try in it, and seeds. The settings come from `grid` and `list`, or from `space`."""

    schema_: str | None = Field(None, alias="$schema", description="For editors; ignored.")
    capfw: Literal[1] = Field(description="Version of the format.")
    description: str = Field("", description="A description of the sweep, for people.")
    base: str | dict[str, JsonValue] = Field(
        description="The base spec: a file, relative to this one, or a spec inline. Its /run_dir is not used. It may lack "
        "what every setting supplies."
    )
    grid: dict[PlaceInSpec, Choices] = Field(
        {}, description="Values by JSON pointer. Every combination of them is a setting."
    )
    list_: tuple[dict[PlaceInSpec, JsonValue], ...] = Field(
        (),
        alias="list",
        description="Settings, each with values by JSON pointer. With `grid`, each is combined with every combination.",
    )
    space: dict[PlaceInSpec, Range | Choices] = Field(
        {}, description="Values, or a range of numbers, by JSON pointer. `search` draws `num` settings from it."
    )
    search: Literal["random", "tpe"] = Field(
        "random",
        description='How settings are drawn from `space`: at random, or by Optuna\'s "tpe" from earlier scores.',
    )
    num: int | None = Field(None, ge=1, description="Number of settings drawn from `space`.")
    search_seed: int = Field(0, ge=0, description="Seed of the draws from `space`.")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="Seeds (/seed): every setting runs once with each. Without any, the seed of the base spec."
    )
    folder: OutputPath = Field(description="Folder of the sweep: run directories, features, logs and results.")

    _base_dir: Path = PrivateAttr(default_factory=Path.cwd)
    _source: str = PrivateAttr("the sweep")

    def model_post_init(self, context: object) -> None:
        """Keeps the folder to which paths are relative, and the name of the file."""
        if isinstance(context, Mapping):
            self._base_dir, self._source = Path(context["base_dir"]), str(context["source"])

    @property
    def source(self) -> str:
        """The name of the sweep in errors: its file."""
        return self._source

    @property
    def base_file(self) -> Path | None:
        """The file of the base spec; None for one inline."""
        return Path(self._base_dir, Path(self.base).expanduser()).resolve() if isinstance(self.base, str) else None

    def read_base(self) -> tuple[dict[str, Any], Path]:
        """The JSON values of the base spec, and the folder to which its paths are relative. Raises `SpecError`."""
        if self.base_file is None:
            return dict(self.base) if isinstance(self.base, dict) else {}, self._base_dir
        try:
            _, raw, folder, problems = read_document(self.base_file, "base spec")
        except SpecError as err:
            raise SpecError([self.in_base(problem) for problem in err.problems], source=self.source) from err
        if problems:
            raise SpecError([self.in_base(problem) for problem in problems], source=self.source)
        return raw, folder

    def in_base(self, problem: Problem) -> Problem:
        """A problem of the base spec, at its place in the sweep file."""
        if self.base_file is None:
            return replace(problem, pointer=f"/base{problem.pointer}")
        where = f"{self.base_file.name}, {problem.pointer}" if problem.pointer else self.base_file
        return replace(problem, pointer="/base", message=f"{where}: {problem.message}")

    @property
    def places(self) -> tuple[str, ...]:
        """The places of the spec that the sweep changes, in the order of the file."""
        listed = (place for setting in self.list_ for place in setting)
        return tuple(dict.fromkeys([*listed, *self.grid, *self.space]))


def load_sweep(source: Path | str | Mapping[str, object]) -> Sweep:
    """Reads a sweep from a file or from JSON values.

    Its paths are relative to the folder of the file, or to the working directory for JSON values. The specs of the trials
    are checked later, by `plan_sweep` and `run_sweep`. Raises `SpecError` with every problem, each at its JSON pointer.
    """
    name, raw, folder, problems = read_document(source, "sweep")
    sweep = None
    try:
        sweep = Sweep.model_validate_json(json.dumps(raw), context={"base_dir": folder, "source": name})
    except ValidationError as err:
        problems += from_pydantic(err, raw, Sweep)
    if sweep is not None:
        problems += _contradictions(sweep)
    if problems or sweep is None:
        raise SpecError(problems, source=name)
    return sweep


def _contradictions(sweep: Sweep) -> Iterator[Problem]:
    """The problems between keys of a sweep, each of which is valid on its own."""
    given = sweep.model_fields_set
    if not (sweep.grid or sweep.list_ or sweep.space):
        yield Problem("", "there is nothing to try.", 'Add "grid", "list" or "space".')
    if sweep.space and (sweep.grid or sweep.list_):
        other = "grid" if sweep.grid else "list"
        yield Problem(f"/{other}", f'"{other}" and "space" exclude each other.', "Keep one of them.")
    if sweep.space and sweep.num is None:
        yield Problem("/num", "this is required beside /space: the number of settings to draw.", 'Add "num": 20.')
    if not sweep.space:
        for key in ("search", "num", "search_seed"):
            if key in given:
                yield Problem(f"/{key}", f'"{key}" has no effect without "space".', "Remove it, or add /space.")
    for seed in sorted({seed for seed in sweep.seeds if sweep.seeds.count(seed) > 1}):
        yield Problem("/seeds", f"seed {seed} occurs twice.", "Keep one of them.")
    for index, setting in enumerate(sweep.list_):
        for place in setting:
            if place in sweep.grid:
                what = f"{place} is in /grid too, so the two would overwrite each other."
                yield Problem(f"/list/{index}{pointer([place])}", what, "Keep it in one of them.")
