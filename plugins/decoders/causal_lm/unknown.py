"""Counts the words of captions that a learned vocabulary lacks. It needs tokenizers, and not torch or transformers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Tokenizer

from ....core.protocols import BadCheckpoint


def count_unknown_words(captions: Iterable[str], file: Path) -> Mapping[str, int]:
    """Returns the lower-case words that the tokenizer in `file` turns into its unknown token, with their counts.

    Raises `BadCheckpoint` when the file is missing or is no tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as err:  # tokenizers raises its own errors as plain exceptions
        raise BadCheckpoint(
            f"{file} cannot be read: {err}", fix="Restore the file; without it, the run cannot be used either."
        ) from err
    unknown = tokenizer.token_to_id(tokenizer.model.unk_token)
    counts: Counter[str] = Counter()
    for caption in captions:
        encoded = tokenizer.encode(caption, add_special_tokens=False)
        places = zip(encoded.ids, encoded.offsets, strict=True)
        counts.update(caption[start:end].lower() for id_, (start, end) in places if id_ == unknown)
    return counts
