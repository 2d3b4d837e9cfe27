"""The values that pass between components, and the letters that every shape comment uses.

B images or captions, N feature tokens, D feature width, P prefix length, E decoder width, T caption tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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

    `grid` (rows, columns) is given where the tokens are patches of the image, row by row. `num_extra_tokens` other tokens
    ([CLS], registers) come first. Raises `ValueError` when these do not add up to N.
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
        """Raises `IncompatibleComponents` when an image has more than one token."""
        if self.num_tokens != 1:
            raise IncompatibleComponents(
                f'"{needed_by}" needs one pooled embedding per image, but the encoder emits '
                f"{self.num_tokens} tokens (B, {self.num_tokens}, {self.dim}).",
                fix='Set /encoder/features to "pooled", or use a mapper that reads tokens.',
            )


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of captions or of other texts, padded on the right.

    ids (B, T) int64; mask (B, T) bool, True where there is a token and False for padding. Padding is never read as input
    and never a target.
    """

    ids: Tensor
    mask: Tensor

    def repeat(self, count: int) -> TokenBatch:
        """Repeats each row `count` times; the copies are adjacent."""
        return TokenBatch(self.ids.repeat_interleave(count, dim=0), self.mask.repeat_interleave(count, dim=0))


@dataclass(frozen=True)
class Prefix:
    """The decoder's input before a caption: the mapper's vectors (B, P, E), then the text of each row, if any.

    The texts are tokens without EOS (`tokenize(texts, end=False)`). Their lengths may differ, and may be 0.
    """

    vectors: Tensor
    text: TokenBatch | None = None

    def repeat(self, count: int) -> Prefix:
        """Repeats each row `count` times, for that many captions of an image; the copies are adjacent."""
        return Prefix(
            self.vectors.repeat_interleave(count, dim=0), None if self.text is None else self.text.repeat(count)
        )


@dataclass(frozen=True)
class Loss:
    """One named loss of a step: the sum over its terms, a scalar with gradients.

    The trainer divides `sum` by the number of target tokens or rows (`per`) in the whole step, and multiplies the
    quotient by `weight`. A loss of weight 0 is only reported.
    """

    sum: Tensor
    per: Literal["token", "row"]
    weight: float = 1.0


@dataclass(frozen=True)
class Generated:
    """Generated captions, image by image (B * n rows). The captions of one image are sorted, best first.

    Sampled captions are sorted by log-probability, and beams by the value of their search: log-probability / length **
    length_penalty for "beam", the mean log-probability per token for "average-beam".

    ids: token ids of each caption, including EOS where the model produced it. log_probs (B * n,) float32: the sum of the
    model's natural-log probabilities of those tokens, before any temperature or penalty.
    """

    ids: list[list[int]]
    log_probs: Tensor


@dataclass(frozen=True)
class Sample:
    """One image of a data set, or another input of an encoder, with its human captions."""

    image_id: ImageId
    source: Source
    references: tuple[str, ...]
    file_name: str = ""


@dataclass(frozen=True)
class CaptionEntry:
    """The captions of one image in a file. `file_name` and `split` are empty where the file does not name them."""

    image_id: ImageId
    captions: tuple[str, ...]
    file_name: str = ""
    split: str = ""


@dataclass(frozen=True)
class Captioned:
    """The input of a metric: one candidate and the references of every image, as raw text, under the same ids.

    `sources` are the images themselves. They are None where only files of captions are scored. `n_best` holds all generated
    captions of each image, best first; the first is the candidate. It is None where every image has one. `training_captions`
    are the captions that the model was trained on, or None where they are unknown.
    """

    candidates: Mapping[ImageId, str]
    references: Mapping[ImageId, tuple[str, ...]]
    sources: Mapping[ImageId, Source] | None = None
    n_best: Mapping[ImageId, tuple[str, ...]] | None = None
    training_captions: Collection[str] | None = None

    def require_sources(self, *, needed_by: str) -> Mapping[ImageId, Source]:
        """Returns the images. Raises `DataError` where there are none."""
        if self.sources is None:
            raise DataError(
                f"metric {needed_by} needs the images, but a file of captions has none.",
                fix="Leave the metric out, or score a run with `capfw evaluate`.",
            )
        return self.sources


@dataclass(frozen=True)
class Batch:
    """The data of one step, on the device. Row i is the same row in every field.

    A row is a caption or an image: the objective decides. inputs: stored features (B, N, D) or live inputs. tokens: the
    target tokens of each row's caption. Where a row is an image, they are those of one of its captions, drawn again in
    each epoch. text: the tokens of each row's context; None where there is no context. seeds (B,) int64, on the CPU: the
    seed of each row's noise, which depends on the run's seed, the step and the image.
    """

    samples: Sequence[Sample]
    inputs: Tensor
    tokens: TokenBatch
    text: TokenBatch | None
    seeds: Tensor


@dataclass(frozen=True)
class Scores:
    """The result of a metric: one value per score name for the corpus, and one per image where the metric has them.

    `details` are facts about the corpus on which the values depend (document frequencies). They are stored with the
    signature. `statistics` are k numbers per image, whose sums over the images give corpus values (`HasStatistics`). A
    corpus value that is the mean of the values per image needs none.
    """

    corpus: Mapping[str, float]
    per_image: Mapping[str, Mapping[ImageId, float]] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    statistics: Mapping[ImageId, Sequence[float]] = field(default_factory=dict)
