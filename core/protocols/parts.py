"""The protocols. A plugin's class satisfies a protocol by having its methods. It needs no base class of ours.

The constructor takes the config first, and the engine's values by keyword: `Encoder(config)`,
`Mapper(config, features=FeatureShape, embed_dim=E)`, `Decoder(config, assets=folder)`, `Metric(config)`, `Dataset(config)`,
`Importer(config)`, `Objective(config, metrics=built metrics)`, `Context(config, assets=folder)`, `Logger(config)`,
`Exporter(config)`.
Constructors seed nothing and choose no device: the engine sets the seed before it builds, and moves modules afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self, runtime_checkable

from .configs import ComponentConfig
from .foreign import ForeignCheckpoint, ForeignFeatures
from .generation import GenerateOptions
from .published import PublishedWeights
from .results import CaptionedImage, CaptionedSplit, LoggedRun
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
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn


class _ModuleMethods(Protocol):
    """The part of `torch.nn.Module` that the engine uses."""

    def parameters(self, recurse: bool = True) -> Iterable[nn.Parameter]: ...
    def train(self, mode: bool = True) -> Self: ...


@runtime_checkable
class Encoder(_ModuleMethods, Protocol):
    """An image encoder: inputs in, features out.

    The engine freezes it unless `/train/tune` names it, and always keeps it in eval mode.
    """

    @property
    def feature_shape(self) -> FeatureShape:
        """N and D of the features that `encode` returns."""

    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        """Turns the bytes of one source into one input. All inputs have one shape; images give pixels (3, H, W) float32.

        The transform holds no weights, pickles small and is thread-safe, because it travels to the processes that read.
        `image_transform` makes one from a function of an RGB image. Raises `UnreadableSource` for bytes that it cannot
        decode.
        """

    def encode(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) -> features (B, N, D) float32. Each row depends only on its own input.

        It switches no gradients off: the engine decides where they flow.
        """

    def fingerprint(self) -> str:
        """A hash that changes when the weights or the transform change. It is part of the feature store's key."""


@runtime_checkable
class TransformsBatches(Protocol):
    """An encoder that can also turn many sources into inputs at once, on the device (decoding on a GPU).

    The engine then calls it, in the main process, in place of `transform`. Its inputs may differ a little from those of
    `transform`, so the feature store's key records which of the two made them.
    """

    def transform_batch(self, data: list[bytes], device: torch.device) -> Tensor:
        """Inputs (B, ...) of these sources on `device`. Raises `UnreadableSource` when one of them cannot be decoded."""


@runtime_checkable
class Mapper(_ModuleMethods, Protocol):
    """A mapping network: features (B, N, D) float32 -> prefix (B, P, E) float32."""

    @property
    def prefix_length(self) -> int:
        """P, the number of prefix vectors per image."""

    def forward(self, features: Tensor) -> Tensor: ...
    def __call__(self, features: Tensor) -> Tensor: ...


@runtime_checkable
class MapperWithLosses(Mapper, Protocol):
    """A mapper with losses of its own. In training the engine then calls `forward_with_losses` in place of `forward`."""

    def forward_with_losses(self, features: Tensor) -> tuple[Tensor, Mapping[str, Loss]]:
        """The prefix that `forward` returns, and losses by name. The engine adds them to the losses of the objective."""


@runtime_checkable
class Decoder(_ModuleMethods, Protocol):
    """An autoregressive language model that continues a prefix.

    It reads, in this order, the prefix vectors, the text of the row, any text of its own (a prompt), and the caption.
    A row depends only on itself, in training and in generation. Parameters that cannot be trained have requires_grad
    False. Several threads may call the methods at once, so they change neither the mode nor the parameters of the module.
    """

    @classmethod
    def prepare(cls, config: ComponentConfig, *, captions: Iterable[str], assets: Path) -> None:
        """Writes the files that the decoder learns from the training captions, or keeps with the run, into `assets`.

        The engine calls it once in a run, before it first builds the decoder. The folder exists. Everything that a later
        build needs (a tokenizer, an architecture) must be in this folder or in a published checkpoint.
        """

    @property
    def embed_dim(self) -> int:
        """E, the width of the decoder's input."""

    @property
    def max_positions(self) -> int | None:
        """The most positions (prefix vectors + text + caption + EOS) that the model can read; None where it has no limit."""

    def tokenize(self, texts: Sequence[str], *, end: bool = True) -> list[list[int]]:
        """Token ids of each text, with EOS at the end if `end` is True; not truncated, not padded."""

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """Teacher forcing: the natural logarithm of each token's probability (B, T) float32; 0 where the mask is False.

        The last vector before the caption predicts its first token. Gradients reach the prefix vectors.
        """

    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        """Continues each row with `options.num_captions` captions.

        seeds (B,) int64: row i draws all its random numbers from its own stream, which is seeded with seeds[i]. A method
        without random numbers ignores them. The engine sets eval mode before the call.
        """

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of generated ids, without special tokens and without white space at either end."""


@runtime_checkable
class HasWeightedNll(Protocol):
    """A decoder that computes a weighted sum of its log-probabilities faster than `log_probs` computes each of them."""

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        """The scalar `-(weights * log_probs(prefix, tokens)).sum()` for weights (B, T), in value and in gradient."""


@runtime_checkable
class Restorable(Protocol):
    """A decoder that can be built without its trained weights, because a checkpoint supplies them.

    The engine calls `restore` in place of the constructor where the checkpoint holds every parameter that `/train/tune`
    can train. A decoder without it always needs its published weights, even when a finished run has saved all of them.
    """

    @classmethod
    def restore(cls, config: ComponentConfig, *, assets: Path) -> Self: ...


@runtime_checkable
class ReadsPublishedWeights(Protocol):
    """A component that reads published weights. The engine asks for them before it builds any part of a spec.

    It fetches all that are not on this machine in one look-up, or reports all of them in one error. The component then
    finds its files in the cache. Without this method, it must fetch and report its weights itself, when it is built.
    """

    @classmethod
    def published_weights(cls, config: ComponentConfig) -> Sequence[PublishedWeights]:
        """The published weights that these options name; empty for random or local weights. It uses no network.

        Raises `ComponentError` for a name that nobody has published.
        """


@runtime_checkable
class KnowsForeignNames(Protocol):
    """A mapper or decoder that can read its weights from another project's checkpoint (`capfw import`)."""

    @staticmethod
    def foreign_names(names: Iterable[str]) -> Mapping[str, str | None]:
        """The entries of `names` that belong to this component, each with its own name for it; None: ignore the entry."""


class CaptionModel(Protocol):
    """The mapper and decoder as an objective sees them. Each row depends only on itself."""

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """Teacher forcing: the natural logarithm of each token's probability (B, T) float32; 0 where the mask is False."""

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        """The scalar `-(weights * log_probs).sum()` for weights (B, T), computed without keeping all logits in memory."""

    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        """Captions of each row, without gradients. seeds (B,) int64 start one stream of random numbers per row."""

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of generated ids, without special tokens."""


@runtime_checkable
class Objective(_ModuleMethods, Protocol):
    """The quantity that a training step minimises, a `torch.nn.Module`. Its weights are trained and saved with the run."""

    @property
    def rows(self) -> Literal["captions", "images"]:
        """The unit of its batches: one row per caption, or one per image."""

    @property
    def is_row_wise(self) -> bool:
        """Whether each row's terms depend on that row alone. If False, the engine refuses gradient accumulation."""

    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        """The losses of a batch by name."""

    def __call__(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]: ...


@runtime_checkable
class Context(Protocol):
    """A source of text that the decoder reads between the prefix and the caption."""

    def fit(self, samples: Sequence[Sample], features: Callable[[int], Tensor] | None) -> None:
        """Learns from the training samples and writes the result into `assets`.

        `features(i)` returns the features (N, D) of sample i. It is None unless `reads_features()` of the config is True.
        The engine calls `fit` once in a run, after extraction. A context built later over the same `assets` gives the
        same texts.
        """

    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        """The text for one image, from features (N, D), or "". It uses nothing learned from the image `excluding`."""


@runtime_checkable
class Metric(Protocol):
    """Scores candidates against references, or against the images. It receives raw text and tokenizes it itself.

    The engine moves a metric that is an `nn.Module` to its device for scoring, and away from it afterwards.
    """

    def score(self, captioned: Captioned) -> Scores: ...

    def signature(self) -> Mapping[str, str]:
        """The facts on which the scores depend (tokenizer, library, version, variant). Constant; stored with the scores."""


@runtime_checkable
class HasStatistics(Protocol):
    """An optional method of a metric whose corpus values follow from sums of `Scores.statistics` over the images.

    capfw resamples the images by it: it gives such scores an interval, and compares them. The method is static, so that
    statistics in a file find it without the metric's weights or programs.
    """

    @staticmethod
    def corpus_of(sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        """Sums (..., k) -> the value (...) of each corpus score, for any number of images, also a repeated one."""


@runtime_checkable
class CountsDocuments(Protocol):
    """An optional method of a metric whose word weights may come from a file: `capfw score --write-document-frequencies`."""

    def write_document_frequencies(
        self, file: Path, references: Mapping[ImageId, tuple[str, ...]], *, origin: str
    ) -> None:
        """Counts the references of every image into `file`; `origin` names their data set in signatures."""


@runtime_checkable
class Importer(Protocol):
    """Reads files that another project wrote. Each method returns None for a file of any other project."""

    def checkpoint(self, shapes: Mapping[str, tuple[int, ...]], embed_dim: int | None) -> ForeignCheckpoint | None:
        """The spec sections of a checkpoint whose entries have these names and shapes.

        `embed_dim` is E of the decoder where it is known. Without it, the sections leave out each value that depends on E.
        """

    def features(self, file: Path) -> ForeignFeatures | None:
        """The embeddings in `file`. Raises `BadCheckpoint` when it is damaged, or when reading it would run code in it."""


@runtime_checkable
class Logger(Protocol):
    """Records the course of a run in files or in a service.

    The engine calls it in the main process of a run, and all methods but the constructor in one thread of their own: a
    slow service slows nothing. It calls `start` before the first record. If a method raises, a notice reports the error
    once, and the run goes on without the logger.
    """

    def start(self, run: LoggedRun) -> str:
        """Opens the record, or continues it if `run.is_resumed`. Returns the way to look at it: a URL, or a command."""

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Records values by name, such as "train/loss" and "val/CIDEr". Some may not be finite."""

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        """Records the captions of a few images, with the images."""

    def log_results(self, results: CaptionedSplit) -> None:
        """Records the captions and scores of every image of the final split, as a table."""

    def finish(self, *, is_complete: bool) -> None:
        """Closes the record. `is_complete` is False if the run failed or was interrupted."""


@runtime_checkable
class Exporter(Protocol):
    """Writes the captions and scores of a run for another tool (`capfw export`)."""

    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        """Exports a split. Returns one line that says how to open the result.

        `output` is a new file, which the engine renames at the end; None where `suffix()` of the config is None.
        """


@runtime_checkable
class Dataset(Protocol):
    """Images with references, in splits. The constructor reads and checks the annotations, never the images."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of this data set: some of "train", "val" and "test"."""

    def samples(self, split: str) -> Sequence[Sample]:
        """The images of one split, always in the same order, with unique ids."""
