"""The values that pass between components, with the letters every shape comment uses.

B images or captions, N feature tokens, D feature width, P prefix length, E decoder width, T caption tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import IncompatibleComponents

if TYPE_CHECKING:
    from torch import Tensor

ImageId: TypeAlias = int | str
ImageSource: TypeAlias = Path | bytes  # a file, or the encoded bytes (PNG, JPEG, ...) of an image held in memory
FeatureKind: TypeAlias = Literal["pooled", "tokens"]


@dataclass(frozen=True)
class FeatureShape:
    """Shape of one image's features: N tokens of width D; N is 1 for a pooled embedding.

    `grid` (rows, columns) where the tokens are patches of the image, row by row, after `num_extra_tokens` others
    ([CLS], registers). Raises `ValueError` when these do not add up to N.
    """

    num_tokens: int
    dim: int
    grid: tuple[int, int] | None = None
    num_extra_tokens: int = 0

    def __post_init__(self) -> None:
        if self.grid is not None and self.grid[0] * self.grid[1] + self.num_extra_tokens != self.num_tokens:
            rows, columns = self.grid
            raise ValueError(
                f"{rows} x {columns} patches and {self.num_extra_tokens} extra tokens are not {self.num_tokens} tokens"
            )

    def require_pooled(self, *, needed_by: str) -> None:
        """Raises `IncompatibleComponents` when there is more than one token per image."""
        if self.num_tokens != 1:
            raise IncompatibleComponents(
                f'"{needed_by}" needs one pooled embedding per image, but the encoder emits '
                f"{self.num_tokens} tokens (B, {self.num_tokens}, {self.dim}).",
                fix='Set /encoder/features to "pooled", or use a mapper that reads tokens.',
            )


@dataclass(frozen=True)
class TokenBatch:
    """Caption tokens for teacher forcing, padded on the right.

    ids (B, T) int64; mask (B, T) bool, True where there is a caption or EOS token. What stands under False is padding:
    it is never read as input and never a target.
    """

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Generated:
    """Generated captions, image by image, the best of an image first where there are several (B * n rows).

    Sampled captions rank by log-probability. Beams rank as their search ranks them: "beam" by log-probability / length **
    length_penalty, "average-beam" by the mean log-probability per token.

    ids: token ids of each caption, up to and with EOS where one was produced. log_probs (B * n,) float32: the
    model's natural-log probability of those tokens, summed, before any temperature or penalty.
    """

    ids: list[list[int]]
    log_probs: Tensor


@dataclass(frozen=True)
class Sample:
    """One image of a data set and its human captions."""

    image_id: ImageId
    image: ImageSource
    references: tuple[str, ...]
    file_name: str = ""


@dataclass(frozen=True)
class Scores:
    """What a metric says: one value per score name for the corpus, and one per image where the metric has them."""

    corpus: Mapping[str, float]
    per_image: Mapping[str, Mapping[ImageId, float]] = field(default_factory=dict)
