"""The values that pass between components, with the letters every shape comment uses.

B images or captions, N feature tokens, D feature width, P prefix length, E decoder width, T caption tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import DataError, IncompatibleComponents
from .sources import Source

if TYPE_CHECKING:
    from torch import Tensor

ImageId: TypeAlias = int | str
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
    """Tokens of captions or of other texts, padded on the right.

    ids (B, T) int64; mask (B, T) bool, True where there is a token. What stands under False is padding: it is never
    read as input and never a target.
    """

    ids: Tensor
    mask: Tensor

    def repeat(self, count: int) -> TokenBatch:
        """Each row `count` times in a row."""
        return TokenBatch(self.ids.repeat_interleave(count, dim=0), self.mask.repeat_interleave(count, dim=0))


@dataclass(frozen=True)
class Prefix:
    """What the decoder reads before a caption: the mapper's vectors (B, P, E), then the text of each row, if any.

    The texts are tokens without EOS (`tokenize(texts, end=False)`) and may be of unequal length, also 0.
    """

    vectors: Tensor
    text: TokenBatch | None = None

    def repeat(self, count: int) -> Prefix:
        """Each row `count` times in a row, as for that many captions of an image."""
        return Prefix(
            self.vectors.repeat_interleave(count, dim=0), None if self.text is None else self.text.repeat(count)
        )


@dataclass(frozen=True)
class Loss:
    """One named loss of a step: the sum over its terms, a scalar with gradients.

    The trainer divides `sum` by the number of target tokens or of rows in the whole step, as `per` asks, and weights the
    quotient with `weight`. With weight 0 the loss is only reported.
    """

    sum: Tensor
    per: Literal["token", "row"]
    weight: float = 1.0


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
    """One image of a data set, or whatever else an encoder reads, and its human captions."""

    image_id: ImageId
    source: Source
    references: tuple[str, ...]
    file_name: str = ""


@dataclass(frozen=True)
class Captioned:
    """What a metric scores: one candidate and the references of every image, as raw text, under the same ids.

    `sources` are the images themselves; None where files of captions are scored.
    """

    candidates: Mapping[ImageId, str]
    references: Mapping[ImageId, tuple[str, ...]]
    sources: Mapping[ImageId, Source] | None = None

    def require_sources(self, *, needed_by: str) -> Mapping[ImageId, Source]:
        """The images. Raises `DataError` where there are none."""
        if self.sources is None:
            raise DataError(
                f"metric {needed_by} reads the images, and files of captions have none.",
                fix="Leave it out here, or score a run with `capfw evaluate`.",
            )
        return self.sources


@dataclass(frozen=True)
class Batch:
    """The data of one step, on the device: row i of every field belongs together.

    A row is a caption or an image, as the objective asks. inputs: stored features (B, N, D) or live inputs. tokens: the
    target tokens of each row's caption; of a row that is an image, those of one of its captions, drawn anew each epoch.
    text: the tokens of the row's context, None where there is no context. seeds (B,) int64, on the CPU: the noise of a row,
    which depends on the run's seed, the step and the image.
    """

    samples: Sequence[Sample]
    inputs: Tensor
    tokens: TokenBatch
    text: TokenBatch | None
    seeds: Tensor


@dataclass(frozen=True)
class Scores:
    """What a metric found: one value per score name for the corpus, and one per image where the metric has them.

    `details`: what the metric found out about the corpus and the values depend on (document frequencies). It is stored
    beside the signature.
    """

    corpus: Mapping[str, float]
    per_image: Mapping[str, Mapping[ImageId, float]] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
