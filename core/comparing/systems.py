"""The systems that are compared, read from run directories or scored from files of candidates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..captions import CaptionFile, read_captions
from ..errors import PluginError, RequestError, listed
from ..protocols import ImageId, Metric, MetricConfig, narrowed, split_of
from ..registry import Registry
from ..resampling import Array, CorpusOf, Statistics, SummedScores, functions_of, summed_scores
from ..results import Results, read_results
from ..scoring import choose_parts, score_files

_SPLITS = ("test", "val")


@dataclass(frozen=True)
class Scored:
    """The scores of one run or file of candidates. `is_rescored` is False where the run directory holds the scores."""

    name: str
    corpus: Mapping[str, float]
    per_image: Mapping[str, Mapping[ImageId, float]]
    functions: Sequence[tuple[CorpusOf, Statistics]]
    candidates: Mapping[ImageId, str]
    signature: Mapping[str, Any]
    lower_is_better: Sequence[str]
    notices: Sequence[str] = ()
    is_rescored: bool = False

    @cached_property
    def ids(self) -> list[ImageId]:
        """The images, in one order for every order of the files."""
        return sorted(self.candidates, key=lambda image_id: (str(image_id), isinstance(image_id, str)))

    @cached_property
    def summed(self) -> dict[tuple[str, ...], SummedScores]:
        """The scores that can be resampled, by their names; the rows are in the order of `ids`."""
        found = summed_scores(self.ids, self.corpus, self.per_image, self.functions)
        return {each.names: each for each in found}


@dataclass(frozen=True)
class System:
    """One system under its name. It has several runs if it is one setting with several seeds."""

    name: str
    runs: Sequence[Scored]

    def value(self, score: str) -> float:
        """Returns the mean of the corpus values of the runs."""
        return float(np.mean([run.corpus[score] for run in self.runs]))

    def per_image(self, score: str) -> Array | None:
        """Returns the value of each image (images,), a mean over the runs; None where a run has no such values."""
        values = [run.per_image.get(score, {}) for run in self.runs]
        if any(each.keys() != run.candidates.keys() for each, run in zip(values, self.runs, strict=True)):
            return None
        table: Array = np.array([[each[i] for i in self.runs[0].ids] for each in values])  # (runs, images)
        mean: Array = table.mean(0)
        return mean


@dataclass(frozen=True)
class Rescoring:
    """The references and metrics with which candidates are scored again. The rest are options of `score_files`."""

    references: Path
    metrics: str | None = None
    columns: Mapping[str, Sequence[str]] | None = None
    reference_columns: Mapping[str, Sequence[str]] | None = None
    allow_missing: bool = False
    allow_extra: bool = False
    allow_duplicates: bool = False


def read_systems(
    arguments: Sequence[str], *, split: str | None, rescoring: Rescoring | None, registry: Registry
) -> list[System]:
    """Reads the systems, each from `PATH`, `PATH,PATH,...` or `NAME=PATH,...`.

    Without `rescoring`, each path is a run directory, or a folder that `capfw evaluate --output` wrote, and its stored
    scores are read. With it, a path may be a file of candidates too, and all candidates are scored. `split` defaults to
    test, or else to val, if all folders have it.
    """
    named = [_parsed(text) for text in arguments]
    if len(named) < 2:
        raise RequestError("one system cannot be compared.", fix="Name two or more: capfw compare A B")
    folders = [path for _, paths in named for path in paths if path.is_dir()]
    files = [path for _, paths in named for path in paths if not path.is_dir()]
    if rescoring is None and files:
        is_there = files[0].is_file()
        what = "a file of candidates needs references." if is_there else "there is no such file or folder."
        fix = "Name a run directory, or add --references FILE to score candidates in files."
        raise RequestError(what, where=str(files[0]), fix=fix)
    chosen = _split_of(folders, split, "candidates" if rescoring else "scores") if folders else split
    if rescoring is None:
        assert chosen is not None, "there are folders"
        read = {path: _stored(path, chosen, registry) for path in folders}
    else:
        scorer = _Scorer(rescoring, split, has_folders=bool(folders), registry=registry)
        read = {path: scorer.score(path, chosen) for path in (*folders, *files)}
    names = _distinct([name for name, _ in named], [",".join(map(str, paths)) for _, paths in named])
    return [System(name, [read[path] for path in paths]) for name, (_, paths) in zip(names, named, strict=True)]


def _parsed(text: str) -> tuple[str, list[Path]]:
    """Returns the name and the paths of one argument. A path that exists is taken as it is."""
    if os.path.exists(text):  # False for a text that is too long to be a path
        return Path(text).resolve().name, [Path(text)]
    name, sign, rest = text.partition("=")
    paths = [Path(each) for each in (rest if sign else text).split(",") if each]
    if not paths:
        raise RequestError(f'"{text}" names no run.', fix="Write PATH, PATH,PATH,... or NAME=PATH,PATH,...")
    if repeated := [path for path in paths if paths.count(path) > 1]:
        raise RequestError(f"{repeated[0]} is named twice in one system.", where=text, fix="Name each run once.")
    return (name if sign else "+".join(path.resolve().name for path in paths)), paths


def _distinct(names: Sequence[str], otherwise: Sequence[str]) -> list[str]:
    """Returns the names, or the whole paths where two names are equal."""
    found = list(names) if len(set(names)) == len(names) else list(otherwise)
    if repeated := [name for name in found if found.count(name) > 1]:
        raise RequestError(f'two systems are "{repeated[0]}".', fix="Name two different ones: capfw compare A B")
    return found


def _split_of(folders: Sequence[Path], split: str | None, kind: str) -> str:
    """Returns the split that all folders have: the one of this usual name, or by default test, or else val."""
    wanted = (split_of(split) or split,) if split is not None else _SPLITS
    for name in wanted:
        if all((folder / kind / f"{name}.json").is_file() for folder in folders):
            return name
    lacking = next(f for f in folders if not (f / kind / f"{wanted[-1]}.json").is_file())
    there = sorted(file.stem for file in (lacking / kind).glob("*.json"))
    has = f"; it has those of {listed(there, 5)}" if there else ""
    raise RequestError(
        f"this folder has no {kind} of split {' or '.join(wanted)}{has}.",
        where=str(lacking),
        fix=f"Score that split first: capfw evaluate {lacking} --split {wanted[-1]}",
    )


def _stored(folder: Path, split: str, registry: Registry) -> Scored:
    """Reads the scores of a run as they are stored."""
    found = read_results(folder, split)
    assert found is not None, "`_split_of` found the file"
    functions, notices = _functions(found, registry)
    return Scored(
        str(folder),
        found.scores,
        found.per_image,
        functions,
        {each["image_id"]: str(each["caption"]) for each in found.candidates},
        found.signature,
        found.lower_is_better,
        notices,
    )


def _functions(found: Results, registry: Registry) -> tuple[list[tuple[CorpusOf, Statistics]], list[str]]:
    """Returns stored statistics with the functions of their metrics, and a notice for each that is not installed."""
    functions: list[tuple[CorpusOf, Statistics]] = []
    notices = []
    for name, rows in found.statistics:
        try:
            functions += functions_of([registry.component("metric", name).load()], [rows])
        except PluginError as err:
            notices.append(f'metric "{name}" cannot be loaded, so its scores cannot be resampled: {err.what}')
    return functions, notices


class _Scorer:
    """Scores candidates against one file of references."""

    def __init__(self, rescoring: Rescoring, split: str | None, *, has_folders: bool, registry: Registry) -> None:
        self.rescoring, self.registry = rescoring, registry
        self.parts = choose_parts(registry, rescoring.metrics)
        self.metrics: list[Metric] = [part.build() for part in self.parts]
        self.references = self._references(split, has_folders)

    def _references(self, split: str | None, has_folders: bool) -> CaptionFile:
        """Reads the references of `split`. Where folders have a split, the file may hold the references of it alone."""
        file, columns = self.rescoring.references, self.rescoring.reference_columns
        if split is None or has_folders:
            whole = read_captions(file, self.registry, columns=columns, flag="--reference-column")
            if split is None or not any(entry.split for entry in whole.images.values()):
                return whole
        return read_captions(file, self.registry, columns=columns, split=split, flag="--reference-column")

    def score(self, path: Path, split: str | None) -> Scored:
        """Scores the candidates of a run directory or file."""
        file = path / "candidates" / f"{split}.json" if path.is_dir() else path
        candidates = read_captions(file, self.registry, columns=None if path.is_dir() else self.rescoring.columns)
        found = score_files(
            candidates,
            self.references,
            self.metrics,
            allow_missing=self.rescoring.allow_missing,
            allow_extra=self.rescoring.allow_extra,
            allow_duplicates=self.rescoring.allow_duplicates,
        )
        lower = [name for part in self.parts for name in narrowed(part.config, MetricConfig).lower_is_better()]
        functions = functions_of(self.metrics, found.statistics)
        return Scored(
            str(path),
            found.scores,
            found.per_image,
            functions,
            found.captioned.candidates,
            found.signature,
            lower,
            found.notices,
            is_rescored=True,
        )
