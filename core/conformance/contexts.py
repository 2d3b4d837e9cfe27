"""Checks of contexts, with four training images, two of which share a caption, and one new image."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ..protocols import Context, ContextConfig, MemorySource, Sample, narrowed
from .checks import check, require
from .examples import encoded, noise
from .subjects import Subject

_REFERENCES = (
    ("a red circle above a blue square", "a circle over a square"),
    ("two dogs run", "dogs on a beach"),
    ("a man rides a green bicycle down the long street",),
    ("two dogs run", "a pair of dogs at play"),
)
_NEW = Sample("new", MemorySource(encoded(noise(9))), ())


def _samples() -> list[Sample]:
    return [Sample(f"image-{i}", MemorySource(encoded(noise(i))), each) for i, each in enumerate(_REFERENCES)]


def _features(index: int) -> Tensor:
    """Features (N, D), different for each image."""
    return torch.randn(1, 16, generator=torch.Generator().manual_seed(index))


def _reads_features(subject: Subject) -> bool:
    return narrowed(subject.config, ContextConfig).reads_features()


def _fitted(subject: Subject) -> tuple[Context, Path]:
    """A context fitted to the training images, and its assets."""
    subject.sound()
    assets = subject.folder("assets")
    context = cast("Context", subject.build(assets=assets))
    context.fit(_samples(), _features if _reads_features(subject) else None)
    return context, assets


def _texts(subject: Subject, context: Context) -> list[str]:
    """The text of every training image, and of the new one."""
    samples = [*_samples(), _NEW]
    given = [_features(i) if _reads_features(subject) else None for i in range(len(samples))]
    return [context.text(s, f, excluding=s.image_id) for s, f in zip(samples, given, strict=True)]


@check(
    "context-gives-text",
    "context",
    advice='Return a string for every image, even for one that was not in `fit`, and "" for no text.',
)
def context_gives_text(subject: Subject) -> None:
    """`text` returns a string, for training images and for new ones."""
    context, _ = _fitted(subject)
    strange = [text for text in _texts(subject, context) if not isinstance(text, str)]
    require(not strange, f"text() returned {strange[:1]!r:.60}, not a string.")


@check(
    "context-does-not-leak",
    "context",
    advice="Use nothing in the text that was learned from the image `excluding`: in training it is the image itself.",
)
def context_does_not_leak(subject: Subject) -> None:
    """The text of a training image holds none of its own references, unless another image has the same one."""
    context, _ = _fitted(subject)
    samples = _samples()
    for sample, text in zip(samples, _texts(subject, context), strict=False):
        others = {reference for other in samples if other is not sample for reference in other.references}
        leaked = [each for each in sample.references if each not in others and each in str(text)]
        require(not leaked, f'the text of {sample.image_id} holds its own reference "{leaked[0] if leaked else ""}".')


@check(
    "context-rebuilds-from-assets",
    "context",
    advice="Write everything that `fit` learns into the folder `assets`, and read it from there.",
)
def context_rebuilds_from_assets(subject: Subject) -> None:
    """Another context over the same assets gives the same texts."""
    context, assets = _fitted(subject)
    again = cast("Context", subject.build(assets=assets))
    before, after = _texts(subject, context), _texts(subject, again)
    differing = [i for i, text in enumerate(before) if text != after[i]]
    require(not differing, f"after another build over the same assets, text() differs for {len(differing)} images.")
