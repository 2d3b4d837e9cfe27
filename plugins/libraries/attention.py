"""Multi-head attention: the numbers of heads that fit a width. No torch."""

from __future__ import annotations

from ...core.protocols import ComponentError


def fitting_heads(width: int) -> str:
    """Returns the fix for heads that do not divide `width`: "Use one of 1, 2, 4."."""
    return f"Use one of {', '.join(str(number) for number in range(1, width + 1) if width % number == 0)}."


def require_fitting_heads(num_heads: int, embed_dim: int) -> None:
    """Raises `ComponentError` for the option "num_heads" unless it divides the decoder's width E."""
    if embed_dim % num_heads:
        raise ComponentError(
            f"{num_heads} heads do not divide the decoder's width {embed_dim}.",
            option="num_heads",
            fix=fitting_heads(embed_dim),
        )
