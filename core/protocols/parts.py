"""The protocols. A plugin's class satisfies one by having these methods; it inherits from nothing of ours.

Each is built with its config first and what the engine hands in by keyword: `Encoder(config)`,
`Mapper(config, features=FeatureShape, embed_dim=E)`, `Decoder(config, assets=folder)`, `Metric(config)`, `Dataset(config)`,
`Importer(config)`.
Constructors seed nothing and choose no device: the engine seeds before building and moves modules after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from .component import ComponentConfig
from .foreign import ForeignCheckpoint, ForeignFeatures
from .generation import GenerateOptions
from .shapes import FeatureShape, Generated, ImageId, ImageSource, Sample, Scores, TokenBatch

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn


class _ModuleMethods(Protocol):
    """The part of `torch.nn.Module` the engine uses."""

    def parameters(self, recurse: bool = True) -> Iterable[nn.Parameter]: ...
    def train(self, mode: bool = True) -> Self: ...


@runtime_checkable
class Encoder(_ModuleMethods, Protocol):
    """An image encoder: pixels in, features out. Always in eval mode, without gradients."""

    @property
    def feature_shape(self) -> FeatureShape:
        """N and D of what `encode` returns."""

    def preprocess(self, image: Image) -> Tensor:
        """Turns one RGB image of any size into pixels (3, H, W) float32. Picklable with the encoder, thread-safe."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) float32 -> features (B, N, D) float32, each image on its own."""

    def fingerprint(self) -> str:
        """A hash that changes when the weights or the preprocessing change: the key of the feature store."""


@runtime_checkable
class Mapper(_ModuleMethods, Protocol):
    """A mapping network: features (B, N, D) float32 -> prefix (B, P, E) float32."""

    @property
    def prefix_length(self) -> int:
        """P."""

    def forward(self, features: Tensor) -> Tensor: ...
    def __call__(self, features: Tensor) -> Tensor: ...


@runtime_checkable
class Decoder(_ModuleMethods, Protocol):
    """An autoregressive language model that continues a prefix. Parameters that are frozen have requires_grad False."""

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
        """Most positions (prefix + caption + EOS) the model can attend to; None when there is no limit."""

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with EOS at the end, not truncated, not padded."""

    def loss(self, prefix: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        """Teacher forcing: summed cross entropy over the tokens under the mask, and how many they are (two scalars).

        Position P - 1 of the prefix (B, P, E) predicts the first token. A row's loss depends on nothing but that row.
        """

    def generate(self, prefix: Tensor, options: GenerateOptions) -> Generated:
        """Continues each prefix (B, P, E) with `options.num_captions` captions."""

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of generated ids: special tokens left out, white space at the ends stripped."""


@runtime_checkable
class Restorable(Protocol):
    """A decoder that can be built without its trained weights, where a checkpoint is about to supply them.

    The engine then calls `restore` in place of the constructor; without it, a finished run needs the published weights
    it began from even when it has trained and saved every one of them.
    """

    @classmethod
    def restore(cls, config: ComponentConfig, *, assets: Path) -> Self: ...


@runtime_checkable
class KnowsForeignNames(Protocol):
    """A mapper or decoder that can take its weights from another project's checkpoint (`capfw import`)."""

    @staticmethod
    def foreign_names(names: Iterable[str]) -> Mapping[str, str | None]:
        """Of `names`, those that belong to this component, with its own name for each; None: known, and left out."""


@runtime_checkable
class Metric(Protocol):
    """Scores candidates against references. Both have the same ids; text is raw, tokenisation is the metric's."""

    def score(self, candidates: Mapping[ImageId, str], references: Mapping[ImageId, tuple[str, ...]]) -> Scores: ...

    def signature(self) -> Mapping[str, str]:
        """What the numbers depend on: tokenizer, library and version, variant. Stored beside the scores."""


@runtime_checkable
class ImageMetric(Metric, Protocol):
    """A metric that also looks at the images (CLIPScore). The engine then calls `score_images` in place of `score`."""

    def score_images(
        self,
        candidates: Mapping[ImageId, str],
        references: Mapping[ImageId, tuple[str, ...]],
        images: Mapping[ImageId, ImageSource],
    ) -> Scores: ...


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
