"""Checks of metrics: three images, of which each has a candidate and references."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ..protocols import ImageId, ImageMetric, ImageSource, Scores
from .checks import check, require
from .pictures import encoded, noise
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


def _images() -> dict[ImageId, ImageSource]:
    return {image_id: encoded(noise(seed)) for seed, image_id in enumerate(_CANDIDATES)}


def _score(subject: Subject, ids: Iterable[str], images: Mapping[ImageId, ImageSource]) -> Scores:
    """Scores these images in this order."""
    candidates: dict[ImageId, str] = {image_id: _CANDIDATES[image_id] for image_id in ids}
    references: dict[ImageId, tuple[str, ...]] = {image_id: _REFERENCES[image_id] for image_id in ids}
    metric = subject.metric
    if isinstance(metric, ImageMetric):
        return metric.score_images(candidates, references, {image_id: images[image_id] for image_id in ids})
    return metric.score(candidates, references)


@cache
def _first_scores(subject: Subject) -> Scores:
    """What several checks look at; a metric may start a program for it."""
    return _score(subject, _CANDIDATES, _images())


@check(
    "scores-as-named",
    "metric",
    advice="Let `score_names()` of the config name exactly the corpus scores, and make each a finite float: `best_by` and "
    "`capfw validate` go by these names.",
)
def scores_as_named(subject: Subject) -> None:
    """The corpus scores are those that `score_names()` names, all finite numbers."""
    named, corpus = subject.config.score_names(), _first_scores(subject).corpus
    require(bool(named), "score_names() names no score.")
    require(set(corpus) == set(named), f"score_names() says {', '.join(named)}; the scores are {', '.join(corpus)}.")
    strange = [name for name, value in corpus.items() if not (isinstance(value, float) and math.isfinite(value))]
    require(not strange, f"{', '.join(strange)}: not a finite float.")


@check(
    "scores-each-image",
    "metric",
    advice="Give every image of the candidates its value under its own id, or leave the score out of `per_image`.",
)
def scores_each_image(subject: Subject) -> None:
    """Per-image scores belong to corpus scores, and have a finite value for each image."""
    scores = _first_scores(subject)
    unknown = sorted(set(scores.per_image) - set(scores.corpus))
    require(not unknown, f"per_image has {', '.join(unknown)}, which is no corpus score.")
    for name, values in scores.per_image.items():
        require(set(values) == set(_CANDIDATES), f"{name} has values for {list(values)}, not for {list(_CANDIDATES)}.")
        require(all(isinstance(v, float) and math.isfinite(v) for v in values.values()), f"{name}: {dict(values)}.")


@check(
    "scores-in-any-order",
    "metric",
    advice="Look candidates and references up by id, never by their place, and keep nothing from one call to the next.",
)
def scores_in_any_order(subject: Subject) -> None:
    """The order of the images changes no score, and neither does scoring again."""
    first, again = _flat(_first_scores(subject)), _flat(_score(subject, sorted(_CANDIDATES), _images()))
    differing = [name for name, v in first.items() if not math.isclose(v, again.get(name, math.nan), abs_tol=1e-5)]
    require(not differing, f"in another order the same images have another {', '.join(differing)}.")


def _flat(scores: Scores) -> dict[str, float]:
    """Corpus and per-image values by name."""
    single = {f"{name} of {i}": value for name, values in scores.per_image.items() for i, value in values.items()}
    return {**scores.corpus, **single}


@check(
    "has-a-signature",
    "metric",
    advice="Let `signature()` name what the numbers depend on as strings: tokenizer, library and version, variant.",
)
def has_a_signature(subject: Subject) -> None:
    """`signature()` says in strings what the numbers depend on, the same whenever it is asked."""
    signature = subject.metric.signature()
    is_right = isinstance(signature, Mapping) and all(isinstance(t, str) for pair in signature.items() for t in pair)
    require(is_right and bool(signature), f"signature() is {signature!r}.")
    _first_scores(subject)
    require(subject.metric.signature() == signature, "signature() changes when something is scored.")


@check(
    "reads-images",
    "metric",
    advice="Read an image source with `source if isinstance(source, bytes) else source.read_bytes()`.",
)
def reads_images(subject: Subject) -> None:
    """A metric that looks at images takes files and bytes alike."""
    if not isinstance(subject.metric, ImageMetric):
        return
    folder = subject.folder("images")
    files: dict[ImageId, ImageSource] = {}
    for image_id, data in _images().items():
        assert isinstance(data, bytes)
        path = Path(folder, f"{image_id}.png")
        path.write_bytes(data)
        files[image_id] = path
    of_files, of_bytes = _flat(_score(subject, _CANDIDATES, files)), _flat(_first_scores(subject))
    is_same = all(math.isclose(value, of_bytes[name], abs_tol=1e-5) for name, value in of_files.items())
    require(is_same, "images in files have other scores than the same images as bytes.")
