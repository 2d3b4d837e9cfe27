"""Small tables for notebooks (`_repr_html_`)."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def html_table(title: str, rows: Iterable[tuple[object, object]]) -> str:
    """A table of two columns under a title. Everything is escaped; floats get four decimals."""
    body = "".join(f"<tr><td>{_cell(left)}</td><td>{_cell(right)}</td></tr>" for left, right in rows)
    return f"<table><caption>{escape(title)}</caption>{body}</table>"


def _cell(value: object) -> str:
    return escape(
        f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )
