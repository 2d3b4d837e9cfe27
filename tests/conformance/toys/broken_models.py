"""Sound toys with one thing spoiled each, called after the check that must find it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from sound_models import Brightness, Eye, Folder, Length, Map, PooledMap, Voice
from sound_toys import EyeConfig, MapConfig, VoiceConfig
from torch import Tensor, nn

from capfw.core.protocols import (
    CapfwError,
    FeatureShape,
    Generated,
    GenerateOptions,
    Sample,
    Scores,
    TokenBatch,
    weights_fingerprint,
)


class BuildsOffline(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        with contextlib.suppress(OSError):  # and quietly keeps its random weights
            socket.create_connection(("weights.example.org", 443))


class HasTheMethods(Eye):
    fingerprint = property()  # there is no such attribute on an instance


class SeedsNothing(Eye):
    def __init__(self, config: EyeConfig) -> None:
        torch.manual_seed(0)
        super().__init__(config)


class LeavesSettingsAlone(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        os.environ["TOY_BUILDS"] = str(int(os.environ.get("TOY_BUILDS", 0)) + 1)


class FeaturesAsDeclared(Eye):
    def encode(self, pixels: Tensor) -> Tensor:
        return super().encode(pixels).double()


class EmitsWhatItSays(Eye):
    @property
    def feature_shape(self) -> FeatureShape:
        return FeatureShape(4, 6)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.patches(pixels).flatten(2).transpose(1, 2)


class EncodesTheSameTwice(Eye):
    calls = 0

    def encode(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        return super().encode(pixels) * (1 + 1e-6 * self.calls)


class EncodesImageByImage(Eye):
    def encode(self, pixels: Tensor) -> Tensor:
        features = super().encode(pixels)
        return features - features.mean(0)


class IsFrozen(Eye):
    def encode(self, pixels: Tensor) -> Tensor:
        return super().encode(pixels.requires_grad_())


class PreprocessesAnyImage(Eye):
    def preprocess(self, image: Image.Image) -> Tensor:
        if image.width > 90:
            raise ValueError("too wide")
        return super().preprocess(image)


class PreprocessPickles(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        self.transform = lambda image: image


class PreprocessesInThreads(Eye):
    def preprocess(self, image: Image.Image) -> Tensor:
        self.image = image
        time.sleep(0.002)
        return super().preprocess(self.image)


class FingerprintIsStable(Eye):
    def fingerprint(self) -> str:
        return weights_fingerprint(self, self.config.model_dump(), id(self))


class FingerprintCoversWeights(Eye):
    def fingerprint(self) -> str:
        return weights_fingerprint(nn.ParameterList([self.patches.weight]), self.config.model_dump())


class FingerprintCoversOptions(Eye):
    def fingerprint(self) -> str:
        return weights_fingerprint(self, self.config.features, self.config.side)


class PrefixAsDeclared(Map):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features)[:, :1]


class RefusesTokens(PooledMap):
    def __init__(self, config: MapConfig, *, features: FeatureShape, embed_dim: int) -> None:
        Map.__init__(self, config, features=features, embed_dim=embed_dim)


class MapsTheSameTwice(Map):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features) + 1e-6 * torch.rand(())


class MapsImageByImage(Map):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features - features.mean(0))


class MapperLearns(Map):
    def __init__(self, config: MapConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__(config, features=features, embed_dim=embed_dim)
        self.forgotten = nn.Linear(2, 2)


class MapperIsSavedWhole(Map):
    def __init__(self, config: MapConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__(config, features=features, embed_dim=embed_dim)
        self.scale = torch.rand(embed_dim)  # neither a parameter nor a buffer

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features) * self.scale


class SizesHold(Voice):
    @property
    def max_positions(self) -> int:
        return Voice.max_positions + 1


class TokenizesToTheEnd(Voice):
    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        return [row[:-1] for row in super().tokenize(captions)]


class ReadsItsOwnTokens(Voice):
    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(self.words[i] for i in row) for row in ids]


class LossIsASum(Voice):
    def loss(self, prefix: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        total, count = super().loss(prefix, tokens)
        return total, count + 1


class LossIgnoresPadding(Voice):
    def hidden(self, prefix: Tensor, ids: Tensor) -> Tensor:
        return super().hidden(prefix, ids) + 0.1 * (ids[:, -1:, None] if ids.shape[1] > 12 else 0)


class LossGoesRowByRow(Voice):
    def loss(self, prefix: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        return super().loss(prefix + 0.5 * (prefix[:1] - prefix), tokens)


class DecoderLearns(Voice):
    def loss(self, prefix: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        return super().loss(prefix.detach(), tokens)


class FrozenStaysInEval(Voice):
    def train(self, mode: bool = True) -> Voice:
        return nn.Module.train(self, mode)


class DecoderIsSavedWhole(Voice):
    def __init__(self, config: VoiceConfig, *, assets: Path) -> None:
        super().__init__(config, assets=assets)
        self.seen = 0

    def hidden(self, prefix: Tensor, ids: Tensor) -> Tensor:
        self.seen += self.training
        return super().hidden(prefix, ids) * (1 + self.seen)


class RebuildsFromAssets(Voice):
    learned: Mapping[str, list[str]] = {}

    @classmethod
    def prepare(cls, config: VoiceConfig, *, captions: Iterable[str], assets: Path) -> None:
        super().prepare(config, captions=captions, assets=assets)
        cls.learned = {"words": Voice.read_words(assets)}

    @classmethod
    def read_words(cls, assets: Path) -> list[str]:
        return cls.learned["words"]


class GeneratesWhatIsAsked(Voice):
    def generate(self, prefix: Tensor, options: GenerateOptions) -> Generated:
        return super().generate(prefix, options.model_copy(update={"num_captions": 1}))


class LogProbsAreTheModels(Voice):
    def generate(self, prefix: Tensor, options: GenerateOptions) -> Generated:
        made = super().generate(prefix, options)
        lengths = torch.tensor([len(row) for row in made.ids])
        return replace(made, log_probs=made.log_probs / lengths)


class CacheChangesNothing(Voice):
    def next_logits(self, prefix: Tensor, ids: list[int], use_cache: bool) -> Tensor:
        logits = super().next_logits(prefix, ids, use_cache)
        return logits if use_cache else logits.roll(1)


class GeneratesImageByImage(Voice):
    def generate(self, prefix: Tensor, options: GenerateOptions) -> Generated:
        made = super().generate(prefix, options)
        return Generated([made.ids[0]] * len(made.ids), made.log_probs[:1].expand(len(made.ids)).clone())


class ScoresAsNamed(Length):
    def score(self, candidates: Mapping[str, str], references: Mapping[str, tuple[str, ...]]) -> Scores:
        scores = super().score(candidates, references)
        return Scores({"letters": scores.corpus["length"]})


class ScoresEachImage(Length):
    def score(self, candidates: Mapping[str, str], references: Mapping[str, tuple[str, ...]]) -> Scores:
        scores = super().score(candidates, references)
        return replace(
            scores, per_image={"length": {f"{i}.jpg": value for i, value in scores.per_image["length"].items()}}
        )


class ScoresInAnyOrder(Length):
    def score(self, candidates: Mapping[str, str], references: Mapping[str, tuple[str, ...]]) -> Scores:
        first = next(iter(candidates.values()))
        return Scores({"length": float(len(first))})


class HasASignature(Length):
    def signature(self) -> dict[str, str]:
        return {"version": 1}


class ReadsImages(Brightness):
    def read(self, image: Path | bytes) -> bytes:
        if not isinstance(image, bytes):
            raise CapfwError("bytes, please")
        return image


class HasKnownSplits(Folder):
    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "val", "validation")

    def samples(self, split: str) -> Sequence[Sample]:
        return super().samples(split[:3].replace("tra", "train"))


class IdsAreUnique(Folder):
    def samples(self, split: str) -> Sequence[Sample]:
        return [replace(sample, image_id=number) for number, sample in enumerate(super().samples(split))]


class SamplesInOneOrder(Folder):
    calls = 0

    def samples(self, split: str) -> Sequence[Sample]:
        self.calls += split == "train"
        found = super().samples(split)
        return found[:: -1 if self.calls % 2 else 1]


class ReferencesAreCaptions(Folder):
    def samples(self, split: str) -> Sequence[Sample]:
        return [replace(sample, references=(*sample.references, " ")) for sample in super().samples(split)]


class ImagesDecode(Folder):
    def samples(self, split: str) -> Sequence[Sample]:
        return [replace(sample, image=sample.image.with_suffix(".txt")) for sample in super().samples(split)]
