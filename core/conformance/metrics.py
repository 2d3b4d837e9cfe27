"""Checks of metrics, with three images that each have a candidate and references."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import CapfwWarning, DataError
from ..protocols import (
    Captioned,
    FileSource,
    HasStatistics,
    ImageId,
    MemorySource,
    MetricConfig,
    Scores,
    Source,
    narrowed,
)
from .checks import check, require
from .examples import encoded, noise
from .subjects import Subject

_CANDIDATES = {
    "image-7": "a dog runs on the beach",
    "image-1": "two men are playing football",
    "image-9": "a plate of food",
}
_REFERENCES = {
    "image-7": ("a brown dog runs along the beach", "a dog is running on sand"),
    "image-1": ("two men play football in a park",),
    "image-9": ("a white plate with food on it", "food on a table", "a plate of pasta and salad"),
}
_OTHERS = {
    "image-7": ("a dog is running on sand",),
    "image-1": ("men play football", "two men are playing football"),
    "image-9": ("some food on a table",),
}
_TRAINING_CAPTIONS = ("a plate of food", "a cat sits on a chair")


def _reads_images(subject: Subject) -> bool:
    return "images" in narrowed(subject.config, MetricConfig).needs()


def _images(subject: Subject) -> Mapping[ImageId, Source] | None:
    """The images if the metric needs them; otherwise None, as when files of captions are scored."""
    if not _reads_images(subject):
        return None
    return {image_id: MemorySource(encoded(noise(seed))) for seed, image_id in enumerate(_CANDIDATES)}


def _captioned(ids: Iterable[str], sources: Mapping[ImageId, Source] | None) -> Captioned:
    """Everything that a metric can read of these images, in this order."""
    ids = list(ids)
    return Captioned(
        {image_id: _CANDIDATES[image_id] for image_id in ids},
        {image_id: _REFERENCES[image_id] for image_id in ids},
        None if sources is None else {image_id: sources[image_id] for image_id in ids},
        {image_id: (_CANDIDATES[image_id], *_OTHERS[image_id]) for image_id in ids},
        _TRAINING_CAPTIONS,
    )


def _score(subject: Subject, ids: Iterable[str], sources: Mapping[ImageId, Source] | None) -> Scores:
    return subject.metric.score(_captioned(ids, sources))


@cache
def _first_scores(subject: Subject) -> Scores:
    """The scores that several checks read, computed once: a metric may start a program for them."""
    return _score(subject, _CANDIDATES, _images(subject))


@check(
    "scores-as-named",
    "metric",
    advice="Return exactly the names of the corpus scores from `score_names()` of the config, and make each score a finite "
    "float: `best_by` and `capfw validate` use these names.",
)
def scores_as_named(subject: Subject) -> None:
    """The corpus scores have the names of `score_names()`, and are finite numbers."""
    named, corpus = narrowed(subject.config, MetricConfig).score_names(), _first_scores(subject).corpus
    require(bool(named), "score_names() names no score.")
    require(set(corpus) == set(named), f"score_names() is {', '.join(named)}; the scores are {', '.join(corpus)}.")
    strange = [name for name, value in corpus.items() if not (isinstance(value, float) and math.isfinite(value))]
    require(not strange, f"{', '.join(strange)}: not a finite float.")


@check(
    "leaves-scores-out",
    "metric",
    advice="Name each score that needs `n_best` or `training_captions` in `optional_score_names()` of the config; without "
    "its input, leave it out of `corpus` and issue a `CapfwWarning`.",
)
def leaves_scores_out(subject: Subject) -> None:
    """Without several captions per image and training captions, only scores that are declared optional are left out."""
    config, usual = narrowed(subject.config, MetricConfig), _first_scores(subject).corpus
    bare = replace(_captioned(_CANDIDATES, _images(subject)), n_best=None, training_captions=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CapfwWarning)
        corpus = subject.build().score(bare).corpus
    lacking = [name for name in usual if name not in corpus]
    undeclared = [name for name in lacking if name not in config.optional_score_names()]
    require(not undeclared, f"it leaves out {', '.join(undeclared)}, which optional_score_names() does not name.")
    is_told = any(issubclass(each.category, CapfwWarning) for each in caught)
    require(is_told or not lacking, f"it leaves out {', '.join(lacking)} without a CapfwWarning.")


@check(
    "scores-each-image",
    "metric",
    advice="Give every image of the candidates its value under its own id, or leave the score out of `per_image`.",
)
def scores_each_image(subject: Subject) -> None:
    """Per-image scores belong to corpus scores, and have a finite value for each image."""
    scores = _first_scores(subject)
    unknown = sorted(set(scores.per_image) - set(scores.corpus))
    require(not unknown, f"per_image has {', '.join(unknown)}, which is not a corpus score.")
    for name, values in scores.per_image.items():
        require(set(values) == set(_CANDIDATES), f"{name} has values for {list(values)}, not for {list(_CANDIDATES)}.")
        require(all(isinstance(v, float) and math.isfinite(v) for v in values.values()), f"{name}: {dict(values)}.")


@check(
    "statistics-give-corpus",
    "metric",
    advice="Give every image k finite numbers in `Scores.statistics`, and return the corpus values from their sums in the "
    "static method `corpus_of(sums)`, which takes sums (..., k) and uses nothing else. Leave both out if a corpus value is "
    "the mean of the values per image.",
)
def statistics_give_corpus(subject: Subject) -> None:
    """The sums of statistics over the images give the corpus values; several rows of sums are computed at once."""
    scores, metric = _first_scores(subject), subject.metric
    rows, corpus_of = scores.statistics, metric.corpus_of if isinstance(metric, HasStatistics) else None
    require(bool(rows) == bool(corpus_of), "statistics and corpus_of(sums) come together, and one of them is missing.")
    if corpus_of is None:
        return
    require(set(rows) == set(_CANDIDATES), f"statistics are for {list(rows)}, not for {list(_CANDIDATES)}.")
    values = np.array([rows[image_id] for image_id in _CANDIDATES], dtype=np.float64)  # (images, k)
    require(values.ndim == 2 and bool(np.isfinite(values).all()), "not every image has the same k finite numbers.")
    whole = corpus_of(values.sum(0))
    unknown = sorted(set(whole) - set(scores.corpus))
    require(not unknown, f"corpus_of gives {', '.join(unknown)}, which is not a corpus score.")
    for name, value in whole.items():
        same = math.isclose(value, scores.corpus[name], rel_tol=1e-9, abs_tol=1e-9)
        require(same, f"the sums give {name} {float(value)!r}; the corpus value is {scores.corpus[name]!r}.")
    stacked = corpus_of(np.stack([values.sum(0), values[0]]))  # (2, k)
    for name, each in stacked.items():
        expected = [float(whole[name]), float(corpus_of(values[0])[name])]
        shape = np.shape(each)
        require(shape == (2,), f"two rows of sums (2, k) give {name} with shape {shape}, not (2,).")
        require(np.allclose(each, expected), f"two rows of sums give {name} {list(each)}, and alone {expected}.")


@check(
    "scores-in-any-order",
    "metric",
    advice="Look candidates and references up by id, never by position, and keep no state between calls.",
)
def scores_in_any_order(subject: Subject) -> None:
    """Another order of the images, or another call, changes no score."""
    first, again = _flat(_first_scores(subject)), _flat(_score(subject, sorted(_CANDIDATES), _images(subject)))
    differing = [name for name, v in first.items() if not math.isclose(v, again.get(name, math.nan), abs_tol=1e-5)]
    require(not differing, f"in another order the same images have another {', '.join(differing)}.")


def _flat(scores: Scores) -> dict[str, float]:
    """Corpus and per-image values by name."""
    single = {f"{name} of {i}": value for name, values in scores.per_image.items() for i, value in values.items()}
    return {**scores.corpus, **single}


@check(
    "has-a-signature",
    "metric",
    advice="Return from `signature()` the facts on which the scores depend, as strings: tokenizer, library and version, "
    "variant. Put facts about the corpus into `Scores.details`.",
)
def has_a_signature(subject: Subject) -> None:
    """`signature()` is constant, and holds the facts on which the scores depend as strings; so does `details`."""
    signature = subject.metric.signature()
    require(_is_text(signature) and bool(signature), f"signature() is {signature!r}.")
    details = _first_scores(subject).details
    require(_is_text(details), f"details are {details!r}.")
    require(subject.metric.signature() == signature, "signature() changes when something is scored.")
    again = subject.build().signature()
    require(again == signature, f"after another build, signature() is {again!r}, not {signature!r}.")


def _is_text(facts: object) -> bool:
    return isinstance(facts, Mapping) and all(isinstance(text, str) for pair in facts.items() for text in pair)


@check(
    "reads-images",
    "metric",
    advice="Take the images from `captioned.require_sources(needed_by=NAME)`, read each with `source.read()` for any kind "
    'of source, and name "images" in `needs()` of the config.',
)
def reads_images(subject: Subject) -> None:
    """A metric that needs images gives the same scores for files and for bytes, and raises `DataError` without them."""
    images = _images(subject)
    if images is None:
        return
    folder, files = subject.folder("images"), dict[ImageId, Source]()
    for image_id, source in images.items():
        path = Path(folder, f"{image_id}.png")
        path.write_bytes(source.read())
        files[image_id] = FileSource(path)
    of_files, of_bytes = _flat(_score(subject, _CANDIDATES, files)), _flat(_first_scores(subject))
    is_same = all(math.isclose(value, of_bytes[name], abs_tol=1e-5) for name, value in of_files.items())
    require(is_same, "images in files have other scores than the same images in memory.")
    try:
        _score(subject, _CANDIDATES, None)
    except DataError:
        return
    except Exception as err:  # a third party's metric may raise anything
        require(False, f"without images it raised {type(err).__name__}, not DataError: {err}")
    require(False, 'needs() names "images", but it scores without them.')
