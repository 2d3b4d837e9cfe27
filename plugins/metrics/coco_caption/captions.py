"""The common first step of coco-caption's metrics: both sides must have the same images, and are tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from ....core.protocols import Captioned, DataError, ImageId, listed
from ...libraries.ptb import TOKENIZER, tokenize_all

Tokenized = dict[ImageId, list[str]]
_NUM_SHOWN = 5


def tokenized_pairs(captioned: Captioned) -> tuple[Tokenized, Tokenized]:
    """Returns candidates (one per image) and references, as lower-case tokens joined by spaces, in the references' order.

    Raises `DataError` when there is nothing to score, or when an image lacks its candidate or references.
    """
    candidates, references = captioned.candidates, captioned.references
    if not candidates and not references:
        raise DataError("there are no captions to score.", fix="Score at least one image.")
    missing = {
        "no candidate": [i for i in references if i not in candidates],
        "no references": [i for i in candidates if not references.get(i)],
    }
    problems = [f"{what} for {_some(ids)}" for what, ids in missing.items() if ids]
    if problems:
        raise DataError(
            f"{'; '.join(problems)}.", fix="Score every image once: one candidate, and at least one reference."
        )
    flat = iter(tokenize_all(caption for captions in references.values() for caption in captions))
    tokenized = {image_id: [next(flat) for _ in captions] for image_id, captions in references.items()}
    by_id = dict(zip(candidates, tokenize_all(candidates.values()), strict=True))
    return {image_id: [by_id[image_id]] for image_id in references}, tokenized


def common_signature(variant: str) -> dict[str, str]:
    """Returns the part of the signature that all metrics here share."""
    return {
        "tokenizer": TOKENIZER,
        "library": f"pycocoevalcap {version('pycocoevalcap')}",
        "variant": variant,
    }


def _some(ids: Sequence[ImageId]) -> str:
    return f"{len(ids)} image{'s' * (len(ids) != 1)} ({listed(ids, _NUM_SHOWN)})"
