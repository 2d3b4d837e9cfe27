"""Selects the parameters that are trained (`/train/tune`), and counts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from ..errors import ComponentError, nearest
from ..spec.settings import PartTuning, TuneSettings
from .model import CaptioningModel

PARTS = ("encoder", "mapper", "decoder")


def set_tuned(model: CaptioningModel, tune: TuneSettings) -> None:
    """Freezes every parameter that `tune` does not name. Parameters that a part itself froze (under adapters) stay frozen.

    Raises `ComponentError` for a prefix in `only` with which no parameter name of the part begins.
    """
    for name, part in parts_of(model):
        tuning: PartTuning | None = getattr(tune, name)
        if tuning is None:
            part.requires_grad_(False)
        elif tuning.only is not None:
            _restrict(part, tuning.only, f"/train/tune/{name}/only")


def _restrict(part: nn.Module, only: tuple[str, ...], where: str) -> None:
    names = [name for name, _ in part.named_parameters()]
    for wanted in only:
        if not any(_begins(name, wanted) for name in names):
            close = nearest(wanted, {start for name in names for start in _beginnings(name)})
            hint = f'Did you mean "{close}"?' if close else f"Use one of {', '.join({n.split('.')[0] for n in names})}."
            error = ComponentError(f'no parameter begins with "{wanted}".', fix=hint)
            error.where = where
            raise error
    for name, parameter in part.named_parameters():
        if not any(_begins(name, wanted) for wanted in only):
            parameter.requires_grad_(False)


def _begins(name: str, wanted: str) -> bool:
    return f"{name}.".startswith(f"{wanted.rstrip('.')}.")


def _beginnings(name: str) -> Iterator[str]:
    words = name.split(".")
    return (".".join(words[:count]) for count in range(1, len(words) + 1))


def parts_of(model: CaptioningModel) -> list[tuple[str, nn.Module]]:
    """The parts of the model by name, with the encoder if it is tuned."""
    return [(name, part) for name in PARTS if isinstance(part := getattr(model, name), nn.Module)]


class HasParameters(Protocol):
    """An encoder, mapper, decoder or objective."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """All parameters, each once."""


@dataclass(frozen=True)
class ParameterCounts:
    """The number of trained parameters and of all, by part."""

    trained_by_part: Mapping[str, int]
    total_by_part: Mapping[str, int]

    @property
    def trained(self) -> int:
        """The number of parameters that the run trains."""
        return sum(self.trained_by_part.values())

    @property
    def total(self) -> int:
        """The number of all parameters."""
        return sum(self.total_by_part.values())

    def __str__(self) -> str:
        return f"{self.total:,} parameters ({self.trained:,} trained)"

    def to_json(self) -> dict[str, object]:
        """The numbers for environment.json."""
        totals = self.total_by_part.items()
        parts = {name: {"trained": self.trained_by_part[name], "total": total} for name, total in totals}
        return {"trained": self.trained, "total": self.total, "by_part": parts}


def count_parameters(parts: Mapping[str, HasParameters]) -> ParameterCounts:
    """The parameters of these parts. One that two parts share counts for the first."""
    trained, total, seen = dict[str, int](), dict[str, int](), set[int]()
    for name, part in parts.items():
        own = [parameter for parameter in part.parameters() if id(parameter) not in seen]
        seen.update(map(id, own))
        trained[name] = sum(parameter.numel() for parameter in own if parameter.requires_grad)
        total[name] = sum(parameter.numel() for parameter in own)
    return ParameterCounts(trained, total)
