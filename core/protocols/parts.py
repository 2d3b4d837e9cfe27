"""The protocols. A plugin's class satisfies one by having these methods; it inherits from nothing of ours.

Each is built with its config first and what the engine hands in by keyword: `Encoder(config)`,
`Mapper(config, features=FeatureShape, embed_dim=E)`, `Decoder(config, assets=folder)`, `Metric(config)`, `Dataset(config)`,
`Importer(config)`, `Objective(config, metrics=built metrics)`, `Context(config, assets=folder)`.
Constructors seed nothing and choose no device: the engine seeds before building and moves modules after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self, runtime_checkable

from .configs import ComponentConfig
from .foreign import ForeignCheckpoint, ForeignFeatures
from .generation import GenerateOptions
from .shapes import (
    Batch,
    Captioned,
    FeatureShape,
    Generated,
    ImageId,
    Loss,
    Prefix,
    Sample,
    Scores,
    TokenBatch,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class _ModuleMethods(Protocol):
    """The part of `torch.nn.Module` the engine uses."""

    def parameters(self, recurse: bool = True) -> Iterable[nn.Parameter]: ...
    def train(self, mode: bool = True) -> Self: ...


@runtime_checkable
class Encoder(_ModuleMethods, Protocol):
    """An image encoder: inputs in, features out. The engine freezes it, unless `/train/tune` names it; eval mode always."""

    @property
    def feature_shape(self) -> FeatureShape:
        """N and D of what `encode` returns."""

    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        """Turns the bytes of one source into one input, all of one shape; for images pixels (3, H, W) float32.

        It holds no weights, pickles small and is thread-safe: it travels to the processes that read. `image_transform` makes
        one of a function of an RGB image. Raises `UnreadableSource` for bytes that it cannot decode.
        """

    def encode(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) -> features (B, N, D) float32, each row on its own; gradients pass where the engine wants them."""

    def fingerprint(self) -> str:
        """A hash that changes when the weights or the transform change: a part of the feature store's key."""


@runtime_checkable
class TransformsBatches(Protocol):
    """An encoder that can also turn many sources into inputs at once, on the device (decoding on a GPU).

    The engine then calls it, in the main process, in place of `transform`. Its inputs may differ a little from those of
    `transform`: the feature store's key names the way.
    """

    def transform_batch(self, data: list[bytes], device: torch.device) -> Tensor:
        """Inputs (B, ...) of these sources on `device`. Raises `UnreadableSource` when one of them cannot be decoded."""


@runtime_checkable
class Mapper(_ModuleMethods, Protocol):
    """A mapping network: features (B, N, D) float32 -> prefix (B, P, E) float32."""

    @property
    def prefix_length(self) -> int:
        """P."""

    def forward(self, features: Tensor) -> Tensor: ...
    def __call__(self, features: Tensor) -> Tensor: ...


@runtime_checkable
class MapperWithLosses(Mapper, Protocol):
    """A mapper with losses of its own. In training the engine then calls `forward_with_losses` in place of `forward`."""

    def forward_with_losses(self, features: Tensor) -> tuple[Tensor, Mapping[str, Loss]]:
        """The prefix of `forward`, and losses by name, which are added to those of the objective."""


@runtime_checkable
class Decoder(_ModuleMethods, Protocol):
    """An autoregressive language model that continues a prefix.

    It reads the prefix vectors, the text of the row, whatever the decoder itself puts there, and the caption. A row
    depends on nothing but that row, in training and in generation. Parameters that cannot be trained have requires_grad
    False. Methods change neither the mode nor the parameters of the module: several threads may call them at once.
    """

    @classmethod
    def prepare(cls, config: ComponentConfig, *, captions: Iterable[str], assets: Path) -> None:
        """Writes into the folder `assets` what must be learned from the training captions or kept with the run.

        Called once, before the decoder is first built in a run; the folder exists. What the decoder needs to be built
        again later (a tokenizer, an architecture) must be there or in a published checkpoint.
        """

    @property
    def embed_dim(self) -> int:
        """E."""

    @property
    def max_positions(self) -> int | None:
        """Most positions (prefix vectors + text + caption + EOS) the model can attend to; None: there is no limit."""

    def tokenize(self, texts: Sequence[str], *, end: bool = True) -> list[list[int]]:
        """Token ids of each text, with EOS at the end where `end` holds; not truncated, not padded."""

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """Teacher forcing: the natural-log probability of each token (B, T) float32; 0 where the mask is False.

        The last vector before the caption predicts its first token. Gradients reach the prefix vectors.
        """

    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        """Continues each row with `options.num_captions` captions.

        seeds (B,) int64: row i draws all its random numbers from a stream of its own that begins at seeds[i]. A method
        without random numbers ignores them. The engine sets eval mode before.
        """

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of generated ids: special tokens left out, white space at the ends stripped."""


@runtime_checkable
class HasWeightedNll(Protocol):
    """A decoder that computes a weighted sum of its log-probabilities faster than `log_probs` gives each of them."""

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        """The scalar `-(weights * log_probs(prefix, tokens)).sum()` for weights (B, T), in value and in gradient."""


@runtime_checkable
class Restorable(Protocol):
    """A decoder that can be built without its trained weights, where a checkpoint is about to supply them.

    The engine calls `restore` in place of the constructor where the checkpoint holds all that `/train/tune` can train;
    without it, a finished run needs the published weights it began from even when it has trained and saved all of them.
    """

    @classmethod
    def restore(cls, config: ComponentConfig, *, assets: Path) -> Self: ...


@runtime_checkable
class KnowsForeignNames(Protocol):
    """A mapper or decoder that can take its weights from another project's checkpoint (`capfw import`)."""

    @staticmethod
    def foreign_names(names: Iterable[str]) -> Mapping[str, str | None]:
        """Of `names`, those that belong to this component, with its own name for each; None: known, and left out."""


class CaptionModel(Protocol):
    """The mapper and decoder as an objective sees them. Each row depends on nothing but that row."""

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """Teacher forcing: the natural logarithm of each token's probability (B, T) float32; 0 where the mask is False."""

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        """`-(weights * log_probs).sum()` for weights (B, T), a scalar, computed without keeping all the logits."""

    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        """Captions of each row, without gradients. seeds (B,) int64: one stream of random numbers per row."""

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of generated ids, without special tokens."""


@runtime_checkable
class Objective(_ModuleMethods, Protocol):
    """The quantity that a training step minimises, a `torch.nn.Module`. Its weights are trained and saved with the run."""

    @property
    def rows(self) -> Literal["captions", "images"]:
        """The unit of its batches: one row per caption, or one per image."""

    @property
    def is_row_wise(self) -> bool:
        """Whether each row's terms depend on that row alone. Where False, gradient accumulation is refused."""

    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        """The losses of a batch, by name."""

    def __call__(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]: ...


@runtime_checkable
class Context(Protocol):
    """A source of text that the decoder reads between prefix and caption."""

    def fit(self, samples: Sequence[Sample], features: Callable[[int], Tensor] | None) -> None:
        """Learns from the training samples and writes the result into `assets`.

        `features(i)` are the features (N, D) of sample i; None unless the config's `reads_features()`. Called once in a
        run, after extraction. A context built later over the same `assets` gives the same texts.
        """

    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        """The text for one image, from features (N, D); "" for none. It uses nothing learned from image `excluding`."""


@runtime_checkable
class Metric(Protocol):
    """Scores candidates against references, or against the images. Text is raw, tokenisation is the metric's.

    A metric that is an `nn.Module` is on the engine's device while it scores, and is off it afterwards.
    """

    def score(self, captioned: Captioned) -> Scores: ...

    def signature(self) -> Mapping[str, str]:
        """What the numbers depend on: tokenizer, library and version, variant. Constant, and stored beside the scores."""


@runtime_checkable
class Importer(Protocol):
    """Reads files that another project wrote. Each method returns None for a file that is not that project's."""

    def checkpoint(self, shapes: Mapping[str, tuple[int, ...]], embed_dim: int | None) -> ForeignCheckpoint | None:
        """What a checkpoint with entries of these names and shapes holds.

        `embed_dim` is E of the decoder where that is known; without it, what depends on E is left out of the sections.
        """

    def features(self, file: Path) -> ForeignFeatures | None:
        """The embeddings in `file`. Raises `BadCheckpoint` when it is damaged, or cannot be read without running code."""


@runtime_checkable
class Dataset(Protocol):
    """Images with references, in splits. Building reads and checks the annotations, never the images."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Of "train", "val", "test", those this data set has."""

    def samples(self, split: str) -> Sequence[Sample]:
        """The images of one split, always in the same order; ids are unique."""
