"""Scores the captions of any system from files. It needs no run and no torch."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .captions import NUM_SHOWN, CaptionFile, count_of, matched, read_captions
from .errors import CapfwError, CapfwWarning, DataError, PluginError, Problem, SpecError, listed, suggestion
from .protocols import Captioned, ComponentConfig, CountsDocuments, ImageId, Metric, MetricConfig, Scores, narrowed
from .registry import Registry
from .resampling import Interval, Statistics, functions_of, intervals_of, summed_scores
from .spec import Part, load_part


@dataclass(frozen=True)
class FileScores:
    """The result of `score_files`.

    scores: corpus value by score name. intervals: a 95 % interval of each that can have one, by a bootstrap over images.
    per_image: the value of each image, by score name. signature: two such scores may be compared only if it is equal.
    notices: those of the metrics, and of reading the files. captioned: the captions that were scored. statistics: those of
    each metric.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    per_image: Mapping[str, Mapping[ImageId, float]]
    signature: Mapping[str, object]
    notices: tuple[str, ...]
    captioned: Captioned
    statistics: Sequence[Statistics]

    def by_image(self) -> list[dict[str, object]]:
        """One record per image, `{"image_id": ..., score name: value, ...}`, in the order of the references."""
        ids = dict.fromkeys(i for values in self.per_image.values() for i in values)
        return [
            {"image_id": i, **{name: values[i] for name, values in self.per_image.items() if i in values}} for i in ids
        ]


def choose_metrics(registry: Registry, chosen: str | None = None) -> list[Metric]:
    """Builds the metrics of `choose_parts`. The error of a metric that cannot be built passes."""
    return [part.build() for part in choose_parts(registry, chosen)]


def choose_parts(registry: Registry, chosen: str | None = None) -> list[Part]:
    """Returns metrics and their options from names with commas between, or from a JSON list of spec sections.

    None selects all metrics that need only captions and have a default for every option.
    Raises `SpecError` for every wrong name or option.
    """
    if chosen is None:
        usual = [(each, _default_config(each.config)) for each in registry.components("metric")]
        chosen_parts = [Part("metric", each, config) for each, config in usual if config]
        return [part for part in chosen_parts if not narrowed(part.config, MetricConfig).needs()]
    try:
        sections = json.loads(chosen) if chosen.lstrip().startswith("[") else chosen.split(",")
    except ValueError as err:
        raise DataError(f"this is not JSON: {err}", where="--metrics", fix='Write \'[{"name": "cider"}]\'.') from err
    if not sections:
        raise DataError("there is no metric in this list.", where="--metrics", fix='Write \'[{"name": "cider"}]\'.')
    return _parts(sections, registry)


def write_document_frequencies(file: Path, references: CaptionFile, metrics: Sequence[Metric]) -> int:
    """Counts the references of every image of a file for the first metric that weighs words by their frequency.

    The origin of the counts is the name of the file and its SHA-256. Returns the number of images. Raises `DataError`
    where none of the metrics counts words, or a file cannot be read or written.
    """
    counting = next((metric for metric in metrics if isinstance(metric, CountsDocuments)), None)
    option = "--write-document-frequencies"
    if counting is None:
        what = "none of the chosen metrics weighs words by their frequency."
        raise DataError(
            what, where=option, fix="Leave out --metrics, or add a metric that does; `capfw plugins` lists them."
        )
    origin = f"{references.path.name}, SHA-256 {references.sha256}"
    try:
        counting.write_document_frequencies(file, references.every(), origin=origin)
    except OSError as err:
        what = f"cannot be written: {err.strerror or err}."
        raise DataError(what, where=str(file), fix=f"Name a file in a folder that exists: {option} FILE.") from err
    return len(references.images)


def _default_config(config: type[ComponentConfig]) -> ComponentConfig | None:
    """The options with all defaults; None where an option has no default."""
    try:
        return config()
    except SpecError:
        return None


def _parts(sections: Sequence[object], registry: Registry) -> list[Part]:
    """The sections as parts, before any is built. Raises `SpecError` with the problems of all sections."""
    parts: list[Part] = []
    problems: list[Problem] = []
    for index, section in enumerate(sections):
        named: Any = {"name": section.strip()} if isinstance(section, str) else section
        try:
            part = load_part("metric", named, registry=registry)
        except SpecError as err:
            problems += [Problem(f"/{index}{each.pointer}", each.message, each.fix) for each in err.problems]
            continue
        if "images" in narrowed(part.config, MetricConfig).needs():  # report this before its weights are downloaded
            what = f'"{part.name}" needs the images, but a file of captions has none.'
            problems.append(Problem(f"/{index}", what, "Leave it out, or score a run with `capfw evaluate`."))
        parts.append(part)
    if problems:
        raise SpecError(problems, source="--metrics")
    return parts


def score_files(
    candidates: CaptionFile | Path | str,
    references: CaptionFile | Path | str,
    metrics: Sequence[Metric],
    *,
    training: CaptionFile | Path | str | None = None,
    registry: Registry | None = None,
    allow_missing: bool = False,
    allow_extra: bool = False,
    allow_duplicates: bool = False,
    around: Callable[[Metric], AbstractContextManager[object]] = nullcontext,
) -> FileScores:
    """Scores the captions in file `candidates` against those in file `references`.

    `read_captions` says which formats it reads; call it for a table with columns of unusual names, and for one split of a
    file. `registry` holds the data sets that read them, by default those of all installed plugins. Images are matched by
    id, then by file name (`matched`).

    An image with references but no candidate is an error; with `allow_missing` it is left out with a notice. The same
    holds for a candidate without references and `allow_extra`. If an image has several candidates, `allow_duplicates`
    takes the first; metrics of several captions per image get all. `training` holds the captions that the model was trained
    on, which a metric of novelty needs. The caller builds the metrics, because it knows the registry. Each metric scores
    within `around(metric)`.

    Raises `DataError`, naming the file and the first image ids at fault.
    """
    candidates, references = (_read(file, registry) for file in (candidates, references))
    notice = _first_of_several(candidates, allow_duplicates)
    found_by_id, notices = matched(candidates, references)
    known, captions = references.every(), found_by_id.best()
    shared = [i for i in known if i in captions]
    if not shared:
        raise _unrelated(candidates, references)
    missing = [i for i in known if i not in captions]
    extra = [i for i in captions if i not in known]
    if missing and not allow_missing:
        if split := _only_split(shared, references):
            what = f"{count_of(missing)} with no candidate; all {len(shared)} candidates are of split {split}."
            raise DataError(what, where=str(candidates.path), fix=f"Score that split: --split {split}.")
        raise _unpaired(missing, "no candidate", candidates, "allow_missing", extra)
    if extra and not allow_extra:
        raise _unpaired(extra, "no references", references, "allow_extra", missing)
    left_out = ((missing, "no candidate"), (extra, "no references"))
    notices += [f"Left out: {count_of(ids)} with {what}." for ids, what in left_out if ids]
    notices += [notice] if notice else []
    learned = None if training is None else _read(training, registry)
    every = found_by_id.every()
    captioned = Captioned(
        {i: captions[i] for i in shared},
        {i: known[i] for i in shared},
        n_best={i: every[i] for i in shared} if notice else None,
        training_captions=None if learned is None else learned.texts(),
    )
    found = apply_metrics(metrics, captioned, around=around)
    signature = {
        "num_images": len(shared),
        "num_left_out": len(known.keys() ^ captions.keys()),
        "candidates": {"file": candidates.path.name, "sha256": candidates.sha256},
        "references": {"file": references.path.name, "sha256": references.sha256},
        **({"training": {"file": learned.path.name, "sha256": learned.sha256}} if learned else {}),
        "metrics": found.signatures,
    }
    notices += found.notices
    return FileScores(
        found.corpus, found.intervals, found.per_image, signature, tuple(notices), captioned, found.statistics
    )


@dataclass(frozen=True)
class MetricScores:
    """The result of several metrics: corpus values, their intervals and per-image values by score name, and notices.

    `signatures` and `statistics` are those of each metric. A signature has the names of the scores, the facts of
    `Metric.signature`, and those of `Scores.details`.
    """

    corpus: Mapping[str, float]
    intervals: Mapping[str, Interval]
    per_image: Mapping[str, Mapping[ImageId, float]]
    signatures: Sequence[Mapping[str, object]]
    statistics: Sequence[Statistics]
    notices: Sequence[str]


def apply_metrics(
    metrics: Sequence[Metric],
    captioned: Captioned,
    *,
    around: Callable[[Metric], AbstractContextManager[object]] = nullcontext,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MetricScores:
    """Scores by every metric, with notices: candidates without words, and the texts of `CapfwWarning`s.

    Each metric scores within `around(metric)`; `progress(done, total)` counts metrics. Other warnings are issued as usual.
    Raises `DataError` for a metric that needs images where there are none. Raises `PluginError` for a metric that fails,
    that yields the same score as an earlier one, or whose statistics are wrong.
    """
    corpus: dict[str, float] = {}
    per_image: dict[str, dict[ImageId, float]] = {}
    signatures: list[Mapping[str, object]] = []
    statistics: list[Statistics] = []
    notices = _notices_of(captioned.candidates)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CapfwWarning)
        for number, metric in enumerate(metrics):
            with around(metric):
                scores = _apply(metric, captioned)
            if repeated := sorted(corpus.keys() & scores.corpus.keys()):
                raise PluginError(
                    f"{type(metric).__name__} yields {', '.join(repeated)}, but so does an earlier metric.",
                    fix="Use one of them at a time.",
                )
            corpus.update(scores.corpus)
            per_image.update({name: dict(values) for name, values in scores.per_image.items()})
            signatures.append({"scores": list(scores.corpus), **metric.signature(), **scores.details})
            statistics.append(scores.statistics)
            progress(number + 1, len(metrics))
    for warning in caught:
        if issubclass(warning.category, CapfwWarning):
            notices.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    summed = summed_scores(captioned.candidates, corpus, per_image, functions_of(metrics, statistics))
    return MetricScores(corpus, intervals_of(summed), per_image, signatures, statistics, notices)


def _notices_of(candidates: Mapping[ImageId, str]) -> list[str]:
    """A notice if candidates hold only punctuation, white space and invisible characters."""
    wordless = [i for i, text in candidates.items() if all(unicodedata.category(letter)[0] in "PZC" for letter in text)]
    if not wordless:
        return []
    return [
        f"Found no word in {len(wordless)} of {len(candidates)} candidates (empty, or only white space and punctuation): "
        f"{listed(wordless, NUM_SHOWN)}. They are scored unchanged."
    ]


def _apply(metric: Metric, captioned: Captioned) -> Scores:
    try:
        return metric.score(captioned)
    except CapfwError:
        raise
    except Exception as err:  # a metric may be third-party code
        raise PluginError(
            f"metric {type(metric).__name__} ({type(metric).__module__}) failed: {type(err).__name__}: {err}",
            fix="Leave the metric out to get the other scores. `capfw --debug ...` prints the traceback.",
        ) from err


def _read(file: CaptionFile | Path | str, registry: Registry | None) -> CaptionFile:
    return file if isinstance(file, CaptionFile) else read_captions(Path(file), registry or Registry.discover())


def _unrelated(candidates: CaptionFile, references: CaptionFile) -> DataError:
    here, there = (listed(list(each.images), NUM_SHOWN) for each in (candidates, references))
    fix = f"Use the same image ids, or file names, in both files: here {here}; there {there}."
    what = f"no image of this file has references in {references.path}."
    return DataError(what, where=str(candidates.path), fix=fix)


def _unpaired(
    ids: Sequence[ImageId], what: str, file: CaptionFile, option: str, others: Sequence[ImageId]
) -> DataError:
    """The error of images that one file lacks. `others` are those of that file which have no counterpart either."""
    fix = f"Complete the file, or leave these images out: {option}=True, on the command line --{option.replace('_', '-')}."
    names = [i for i in others if isinstance(i, str)]
    if isinstance(ids[0], str) and (close := suggestion(ids[0], names)):
        fix = f"For {ids[0]}: {close}\n{fix}"
    return DataError(f"{count_of(ids)} with {what}: {listed(ids, NUM_SHOWN)}.", where=str(file.path), fix=fix)


def _only_split(shared: Sequence[ImageId], references: CaptionFile) -> str:
    """The split that holds all shared images, where the file of the references names several; else an empty text."""
    splits = {references.images[i].split for i in shared}
    return splits.pop() if len(splits) == 1 and len({entry.split for entry in references.images.values()}) > 1 else ""


def _first_of_several(candidates: CaptionFile, allow_duplicates: bool) -> str | None:
    """The notice that only the first of several candidates counts. Raises `DataError` unless that is allowed."""
    repeated = [i for i, entry in candidates.images.items() if len(entry.captions) > 1]
    if not repeated:
        return None
    if allow_duplicates:
        return (
            f"Scored only the first of several candidates for {count_of(repeated)}: {listed(repeated, NUM_SHOWN)}. Only "
            "metrics of several captions per image use the others."
        )
    raise DataError(
        f"{count_of(repeated)} with more than one caption: {listed(repeated, NUM_SHOWN)}.",
        where=str(candidates.path),
        fix="Keep one candidate per image, or use only the first: allow_duplicates=True, on the command line "
        "--allow-duplicates.",
    )
