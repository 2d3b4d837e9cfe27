"""Understands the names of splits in the rows of a table and as folders."""

from __future__ import annotations

from collections.abc import Iterable

from ....core.protocols import split_of

_UNSURE = ("eval", "evaluation")  # the validation split for most people, the test split for some


def folder_split(file: str) -> str | None:
    """Returns the split that the first folder of a relative path is named after, or None."""
    folder, slash, _ = file.partition("/")
    return split_of(folder) if slash else None


def fault_of_split(name: str, others: Iterable[str]) -> str:
    """Returns the fault of a split's name in a table that also has the names `others`, or an empty text."""
    if split_of(name) is None:
        return f'split "{name}" is not train, val or test'
    if name.strip().lower() in _UNSURE:
        sure = [other for other in others if split_of(other) == "val" and other.strip().lower() not in _UNSURE]
        if sure:
            return f'split "{name}" may be val or test, and "{sure[0]}" is val: name it test or val'
    return ""
