"""Document frequencies for CIDEr and Self-CIDEr, in a file: the number of images whose references have each n-gram.

CIDEr weighs an n-gram by log(number of images / images that have it). Weights from a small set of references mean little,
and scores with the weights of different sets cannot be compared. One file with the frequencies of a large set solves both.

The file is JSON: `{"capfw_document_frequencies": 1, "origin": text, "tokenizer": text, "num_images": int, "ngrams":
{"a man": images, ...}}`, with n-grams of 1 to 4 tokens joined by spaces. It leaves out n-grams of a single image: CIDEr
treats one image and none alike.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pycocoevalcap.cider.cider_scorer import precook

from ...core.protocols import ComponentError, DataError, ImageId
from .ptb import TOKENIZER, tokenize_all

FORMAT_KEY, FORMAT_VERSION = "capfw_document_frequencies", 1


@dataclass(frozen=True)
class DocumentFrequencies:
    """Images per n-gram (a tuple of tokens) among `num_images`; `origin` names their data set."""

    origin: str
    num_images: int
    ngrams: Mapping[tuple[str, ...], int]


def count_documents(references: Mapping[ImageId, tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    """Counts the images whose raw reference captions have each n-gram of 1 to 4 tokens."""
    counts: Counter[tuple[str, ...]] = Counter()
    for captions in references.values():
        counts.update({ngram for caption in tokenize_all(captions) for ngram in precook(caption)})
    return counts


def write_document_frequencies(
    path: Path | str, references: Mapping[ImageId, tuple[str, ...]], *, origin: str
) -> DocumentFrequencies:
    """Counts the n-grams of raw reference captions and writes them to `path`; `origin` becomes part of the signature.

    Raises `DataError` when there are no references.
    """
    if not references:
        raise DataError("there are no references to count n-grams in.", fix="Give the references of one image or more.")
    ngrams = {ngram: count for ngram, count in sorted(count_documents(references).items()) if count > 1}
    content = {
        FORMAT_KEY: FORMAT_VERSION,
        "origin": origin,
        "tokenizer": TOKENIZER,
        "num_images": len(references),
        "ngrams": {" ".join(ngram): count for ngram, count in ngrams.items()},
    }
    path = Path(path)
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    aside.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    aside.replace(path)
    return DocumentFrequencies(origin, len(references), ngrams)


def read_document_frequencies(path: Path) -> DocumentFrequencies:
    """Reads a file of `write_document_frequencies`. Raises `ComponentError` for any other content."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if content[FORMAT_KEY] != FORMAT_VERSION:
            raise ValueError(f"its format is version {content[FORMAT_KEY]}; this capfw reads version {FORMAT_VERSION}")
        ngrams = {tuple(text.split(" ")): int(count) for text, count in content["ngrams"].items()}
        return DocumentFrequencies(str(content["origin"]), int(content["num_images"]), ngrams)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ComponentError(
            f"{path} does not hold document frequencies: {err!r}.",
            option="document_frequencies",
            fix="Write the file with `capfw score --references FILE --write-document-frequencies COUNTS`.",
        ) from err
