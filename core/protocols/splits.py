"""The splits of a data set, and the names that people give to them, in a column, as folders and as files."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names}


def split_of(name: str) -> str | None:
    """Returns train, val or test for one of their usual names in upper or lower case; None for any other name."""
    return _SPLIT_OF.get(name.strip().lower())
