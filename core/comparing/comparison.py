"""The comparison of two or more systems: differences, intervals, p-values, and the images that changed most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from ..errors import RequestError, choices
from ..protocols import ImageId
from ..registry import Registry
from ..resampling import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Array,
    Interval,
    SummedScores,
    bootstrap,
    holm,
    percentiles,
    randomisation,
)
from .comparable import differences_of, left_out, require_comparable
from .groups import Group, estimate
from .systems import Rescoring, Scored, System, read_systems

TRIALS_PER_RESAMPLE = 10


@dataclass(frozen=True)
class SystemScore:
    """A corpus value of a system, and its 95 % interval where it can be resampled; of several runs, their mean."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class ImageChange:
    """The values and captions of an image in the first system and in another one; of several runs, the first's caption."""

    image_id: ImageId
    first: float
    other: float
    first_caption: str
    other_caption: str


@dataclass(frozen=True)
class Difference:
    """The difference of one score between a system and the first: the system's value minus the first's.

    `p` is two-sided, and `p_corrected` the same after Holm's correction over all systems that are compared with the first.
    `better`, `equal` and `worse` count images by their value in the system against that in the first; they are None where
    a metric has no values per image. `gained` and `lost` are the images that changed most.
    """

    score: str
    system: str
    value: float
    interval: Interval | None
    p: float | None
    p_corrected: float | None
    better: int | None
    equal: int | None
    worse: int | None
    gained: Sequence[ImageChange]
    lost: Sequence[ImageChange]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`. The first system is the one that the others are compared with.

    systems: the paths of the runs of each system. scores: by score and system. notices: what differs besides the captions.
    has_groups: whether intervals and p-values cover seeds, because a system has several runs.
    """

    num_images: int
    num_resamples: int
    num_trials: int
    seed: int
    systems: Mapping[str, Sequence[str]]
    scores: Mapping[str, Mapping[str, SystemScore]]
    differences: Sequence[Difference]
    notices: Sequence[str]
    has_groups: bool

    def to_json(self) -> dict[str, object]:
        """Returns everything as JSON values."""
        method = "t interval over images and runs" if self.has_groups else "paired bootstrap over images, percentiles"
        test = "t test over images and runs" if self.has_groups else "paired approximate randomisation, two-sided"
        return {
            **asdict(self),
            "confidence": CONFIDENCE,
            "interval_method": method,
            "p_method": test,
            "correction": "Holm, over the systems of each score" if len(self.systems) > 2 else None,
        }


def compare(
    systems: Sequence[str | Path],
    *,
    split: str | None = None,
    references: Path | str | None = None,
    metrics: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
    num_images: int = 5,
    seed: int = 0,
    registry: Registry | None = None,
) -> Comparison:
    """Compares every system with the first on the same images. The result does not depend on the order of the images.

    A system is a path, or the runs of one setting with several seeds, "PATH,PATH,..."; "NAME=PATH,..." gives it a name.
    A path is a run directory, or a folder that `evaluate_run(output=...)` wrote: its scores of `split` are read, by default
    of test, or else of val. With `references`, the candidates are scored against them with `metrics` (as in `capfw score`),
    and a path may be a file of candidates. `num_images` is the number of images in `gained` and `lost`.

    Intervals: a paired bootstrap over the images with `num_resamples` resamples. p: paired approximate randomisation with 10
    times as many trials. Where a system has several runs, both are as `groups.estimate` describes.

    Raises `DataError` where the images or the references differ.
    """
    rescoring = None if references is None else Rescoring(Path(references), metrics)
    if metrics is not None and rescoring is None:
        raise RequestError(
            "the stored scores have their metrics.", where="metrics", fix="Add references, or leave it out."
        )
    read = read_systems(
        list(map(str, systems)), split=split, rescoring=rescoring, registry=registry or Registry.discover()
    )
    return compare_systems(read, num_resamples=num_resamples, num_images=num_images, seed=seed)


def compare_systems(systems: Sequence[System], *, num_resamples: int, num_images: int, seed: int) -> Comparison:
    """Compares systems that are read, as `compare` does."""
    if num_resamples < NUM_RESAMPLES:
        what = f"{num_resamples} resamples are too few for an interval."
        raise RequestError(what, where="num_resamples (--resamples)", fix=f"Use {NUM_RESAMPLES} or more.")
    runs = list(chain.from_iterable(system.runs for system in systems))
    for other in runs[1:]:
        require_comparable(runs[0], other)
    kept = [name for name in runs[0].corpus if all(name in run.corpus for run in runs)]
    if not kept:
        raise RequestError(
            "the systems have no score in common.",
            where=", ".join(system.name for system in systems),
            fix=f"Score all with the same metrics. {choices('Scores of the first', runs[0].corpus)}",
        )
    notices = [*chain.from_iterable(run.notices for run in runs), *left_out(runs, kept)]
    notices += chain.from_iterable(differences_of(runs[0], other) for other in runs[1:])
    has_groups = any(len(system.runs) > 1 for system in systems)
    if has_groups:
        notices += [_fixed(system) for system in systems if len(system.runs) == 1]
    work = _Work(systems, kept, num_resamples, seed)
    differences = [each for name in kept for each in work.differences(name, num_images)]
    return Comparison(
        len(runs[0].ids),
        num_resamples,
        TRIALS_PER_RESAMPLE * num_resamples,
        seed,
        {system.name: [run.name for run in system.runs] for system in systems},
        {name: {system.name: work.score(system, name) for system in systems} for name in kept},
        differences,
        list(dict.fromkeys(notices)),
        has_groups,
    )


def _fixed(system: System) -> str:
    return f"{system.name} is one run: its intervals and p-values do not cover the seed of its training."


class _Work:
    """Resamples all runs together, once, and computes each result from them."""

    def __init__(self, systems: Sequence[System], kept: Sequence[str], num_resamples: int, seed: int) -> None:
        self.systems, self.first = systems, systems[0]
        self.num_trials, self.seed = TRIALS_PER_RESAMPLE * num_resamples, seed
        self.runs = list(chain.from_iterable(system.runs for system in systems))
        self.has_groups = len(self.runs) > len(systems)
        self.resampled = {id(run): self._bootstrap(run, num_resamples) for run in self.runs}
        self.p_values = {} if self.has_groups else {s.name: self._randomisation(s) for s in systems[1:]}
        lower = {name for run in self.runs for name in run.lower_is_better}
        self.signs = {name: -1 if name in lower else 1 for name in kept}

    def _blocks(self, run: Scored) -> list[SummedScores]:
        """Returns the scores that can be resampled in all runs."""
        return [each for names, each in run.summed.items() if all(names in other.summed for other in self.runs)]

    def _bootstrap(self, run: Scored, num_resamples: int) -> dict[str, Array]:
        blocks = self._blocks(run)
        if not blocks or len(run.ids) < 2:
            return {}
        return bootstrap(blocks, num_resamples=num_resamples, seed=self.seed)

    def _randomisation(self, system: System) -> dict[str, float]:
        blocks = self._blocks(self.first.runs[0])
        if not blocks:
            return {}
        theirs = [system.runs[0].summed[each.names] for each in blocks]
        return randomisation(blocks, theirs, num_trials=self.num_trials, seed=self.seed)

    def _group(self, system: System, score: str) -> Group | None:
        if any(score not in self.resampled[id(run)] for run in system.runs):
            return None
        values = np.array([run.corpus[score] for run in system.runs])
        return Group(values, np.stack([self.resampled[id(run)][score] for run in system.runs]))

    def score(self, system: System, score: str) -> SystemScore:
        """Returns the value of a system with its interval."""
        group = self._group(system, score)
        if group is None:
            return SystemScore(system.value(score), None)
        if self.has_groups:
            interval, _ = estimate(group, None, len(system.runs[0].ids))
        else:
            interval = percentiles(group.resampled[0])
        return SystemScore(system.value(score), interval)

    def differences(self, score: str, num_images: int) -> list[Difference]:
        """Returns the differences of a score between each other system and the first."""
        found = [self._difference(system, score, num_images) for system in self.systems[1:]]
        p_values = [each.p for each in found if each.p is not None]
        corrected = iter(holm(p_values))
        return [replace(each, p_corrected=None if each.p is None else next(corrected)) for each in found]

    def _difference(self, system: System, score: str, num_images: int) -> Difference:
        ours, theirs = self._group(self.first, score), self._group(system, score)
        interval, p = None, None
        if ours is not None and theirs is not None:
            if self.has_groups:
                interval, p = estimate(theirs, ours, len(self.first.runs[0].ids))
            else:
                interval = percentiles(theirs.resampled[0] - ours.resampled[0])
                p = self.p_values[system.name][score]
        value = system.value(score) - self.first.value(score)
        return Difference(score, system.name, value, interval, p, None, *self._images(system, score, num_images))

    def _images(
        self, system: System, score: str, num_images: int
    ) -> tuple[int | None, int | None, int | None, list[ImageChange], list[ImageChange]]:
        """Returns the numbers of better, equal and worse images, and those that gained and lost most."""
        first, other = self.first.per_image(score), system.per_image(score)
        if first is None or other is None:
            return None, None, None, [], []
        gains = self.signs[score] * (other - first)
        is_equal = np.isclose(first, other, rtol=0, atol=1e-12)
        counts = [int((gains[~is_equal] > 0).sum()), int(is_equal.sum()), int((gains[~is_equal] < 0).sum())]
        gains[is_equal] = 0
        order = np.argsort(-gains, kind="stable")
        gained = [self._change(system, i, first, other) for i in order[:num_images] if gains[i] > 0]
        lost = [self._change(system, i, first, other) for i in order[::-1][:num_images] if gains[i] < 0]
        return counts[0], counts[1], counts[2], gained, lost

    def _change(self, system: System, place: int, first: Array, other: Array) -> ImageChange:
        ours, theirs = self.first.runs[0], system.runs[0]
        image_id = ours.ids[place]
        captions = ours.candidates[image_id], theirs.candidates[image_id]
        return ImageChange(image_id, float(first[place]), float(other[place]), *captions)
