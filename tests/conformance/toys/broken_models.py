"""Sound toys with one thing spoiled each, called after the check that must find it."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from sound_models import (
    Brightness,
    Elsewhere,
    Eye,
    Folder,
    Length,
    Map,
    Other,
    PooledMap,
    QuickEye,
    Sum,
    Voice,
    shrink,
)
from sound_toys import EyeConfig, MapConfig, VoiceConfig
from torch import Tensor, nn

from capfw.core.protocols import (
    Batch,
    CapfwError,
    Captioned,
    CaptionModel,
    FeatureShape,
    ForeignFeatures,
    Generated,
    GenerateOptions,
    ImageId,
    Loss,
    MemorySource,
    Prefix,
    Sample,
    Scores,
    Source,
    TokenBatch,
    image_transform,
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
    def encode(self, inputs: Tensor) -> Tensor:
        return super().encode(inputs).double()


class EmitsWhatItSays(Eye):
    @property
    def feature_shape(self) -> FeatureShape:
        return FeatureShape(4, 6)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.patches(inputs).flatten(2).transpose(1, 2)


class EncodesTheSameTwice(Eye):
    calls = 0

    def encode(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return super().encode(inputs) * (1 + 1e-6 * self.calls)


class EncodesImageByImage(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        features = super().encode(inputs)
        return features - features.mean(0)


class IsFrozen(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        return super().encode(inputs.requires_grad_())


class EncoderCanBeTuned(Eye):
    def encode(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return super().encode(inputs)


@dataclass(frozen=True)
class Then:
    """A transform, and a function of what it makes."""

    first: Callable[[bytes], Tensor]
    after: Callable[[Tensor], Tensor]

    def __call__(self, data: bytes) -> Tensor:
        return self.after(self.first(data))


def doubled(pixels: Tensor) -> Tensor:
    return pixels.double()


class InputsOfOneShape(Eye):
    @property
    def transform(self) -> Then:
        return Then(super().transform, doubled)

    def encode(self, inputs: Tensor) -> Tensor:
        return super().encode(inputs.float())


def shrink_narrow(image: Image.Image, side: int) -> Tensor:
    if image.width > 90:
        raise ValueError("too wide")
    return shrink(image, side, flip=False)


class TransformsAnyImage(Eye):
    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        return image_transform(partial(shrink_narrow, side=self.config.side))


def open_and_shrink(data: bytes, side: int, flip: bool) -> Tensor:
    return shrink(Image.open(io.BytesIO(data)).convert("RGB"), side, flip)


class RefusesBadBytes(Eye):
    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        return partial(open_and_shrink, side=self.config.side, flip=self.config.flip)


@dataclass(frozen=True)
class Times:
    weights: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels * self.weights[0]


class TransformPickles(Eye):
    @property
    def transform(self) -> Then:
        return Then(super().transform, Times(torch.ones(1000)))


class Keeping:
    def __init__(self, transform: Callable[[bytes], Tensor]) -> None:
        self.transform = transform

    def __call__(self, data: bytes) -> Tensor:
        self.data = data
        time.sleep(0.002)
        return self.transform(self.data)


class TransformsInThreads(Eye):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__(config)
        self.keeping = Keeping(super().transform)

    @property
    def transform(self) -> Keeping:
        return self.keeping


class TransformsBatches(QuickEye):
    def transform_batch(self, data: list[bytes], device: torch.device) -> Tensor:
        return super().transform_batch(data, device).flip(0)


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
    def tokenize(self, texts: Sequence[str], *, end: bool = True) -> list[list[int]]:
        return super().tokenize(texts)


class ReadsItsOwnTokens(Voice):
    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(self.words[i] for i in row) for row in ids]


class LogProbsAsDeclared(Voice):
    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        return super().log_probs(prefix, tokens).masked_fill(~tokens.mask, -1.0)


class LogProbsIgnorePadding(Voice):
    def hidden(self, before: Tensor, ids: Tensor) -> Tensor:
        return super().hidden(before, ids) + 0.1 * (ids[:, -1:, None] if ids.shape[1] > 12 else 0)


class LogProbsGoRowByRow(Voice):
    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        mixed = prefix.vectors if prefix.text else prefix.vectors + 0.5 * (prefix.vectors[:1] - prefix.vectors)
        return super().log_probs(replace(prefix, vectors=mixed), tokens)


class WeightedNllIsThatOfLogProbs(Voice):
    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        return super().weighted_nll(prefix, tokens, weights.clamp(min=0))


class DecoderLearns(Voice):
    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        vectors = torch.cat([prefix.vectors[:, :1].detach(), prefix.vectors[:, 1:]], dim=1)
        return super().log_probs(replace(prefix, vectors=vectors), tokens)


class DecoderIsSavedWhole(Voice):
    def __init__(self, config: VoiceConfig, *, assets: Path) -> None:
        super().__init__(config, assets=assets)
        self.seen = 0

    def hidden(self, before: Tensor, ids: Tensor) -> Tensor:
        self.seen += self.training
        return super().hidden(before, ids) * (1 + self.seen)


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
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        made = super().generate(prefix, options, seeds)
        return made if options.num_captions == 3 else Generated(made.ids[:3], made.log_probs[:3])


class LogProbsAreTheModels(Voice):
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        made = super().generate(prefix, options, seeds)
        lengths = torch.tensor([len(row) for row in made.ids])
        return replace(made, log_probs=made.log_probs / lengths)


class CacheChangesNothing(Voice):
    def next_logits(self, before: Tensor, ids: list[int], use_cache: bool) -> Tensor:
        logits = super().next_logits(before, ids, use_cache)
        return logits if use_cache else logits.roll(1)


class GeneratesImageByImage(Voice):
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        made = super().generate(prefix, options, seeds)
        if prefix.text is not None or options.num_captions > 1:
            return made
        return Generated([made.ids[0]] * len(made.ids), made.log_probs[:1].expand(len(made.ids)).clone())


class DrawsFromItsSeeds(Voice):
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        return super().generate(prefix, options, seeds[:1].expand_as(seeds) + torch.arange(len(seeds)))


class LogProbsAfterText(Voice):
    """Leaves the gap of a shorter text to where the others' texts end."""

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        if prefix.text is not None:
            mask = torch.ones_like(prefix.text.mask)
            prefix = replace(prefix, text=TokenBatch(prefix.text.ids.clamp(min=0), mask))
        return super().log_probs(prefix, tokens)


class GeneratesAfterText(Voice):
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        if prefix.text is not None:
            mask = torch.ones_like(prefix.text.mask)
            prefix = replace(prefix, text=TokenBatch(prefix.text.ids.clamp(min=0), mask))
        return super().generate(prefix, options, seeds)


class ScoresAsNamed(Length):
    def score(self, captioned: Captioned) -> Scores:
        return Scores({"letters": super().score(captioned).corpus["length"]})


class ScoresEachImage(Length):
    def score(self, captioned: Captioned) -> Scores:
        scores = super().score(captioned)
        return replace(
            scores, per_image={"length": {f"{i}.jpg": value for i, value in scores.per_image["length"].items()}}
        )


class ScoresInAnyOrder(Length):
    def score(self, captioned: Captioned) -> Scores:
        first = next(iter(captioned.candidates.values()))
        return Scores({"length": float(len(first))})


class HasASignature(Length):
    def signature(self) -> dict[str, str]:
        return {"version": 1}


class ReadsImages(Brightness):
    def opened(self, source: Source) -> Image.Image:
        if not isinstance(source, MemorySource):
            raise CapfwError("bytes, please")
        return super().opened(source)


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


@dataclass(frozen=True)
class Handle:
    name: str

    def read(self) -> bytes:
        return Path(self.name).read_bytes()


class SourcesAreRead(Folder):
    def samples(self, split: str) -> Sequence[Sample]:
        return [replace(sample, source=Handle(sample.source.name)) for sample in super().samples(split)]


def cut(source: Source) -> MemorySource:
    return MemorySource(source.read()[:40], source.name)


class ImagesDecode(Folder):
    def samples(self, split: str) -> Sequence[Sample]:
        return [replace(sample, source=cut(sample.source)) for sample in super().samples(split)]


class LeavesStrangersAlone(Elsewhere):
    def features(self, file: Path) -> ForeignFeatures:
        return ForeignFeatures(torch.zeros(0, 3))


class LossesAsDeclared(Sum):
    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        return {"nll": Loss(super().forward(model, prefix, batch)["nll"].sum, per="caption")}


class ObjectiveReachesTheModel(Sum):
    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        return {"nll": Loss(super().forward(model, prefix, batch)["nll"].sum.detach(), per="token")}


class ObjectiveGoesRowByRow(Sum):
    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        return {"nll": Loss(super().forward(model, prefix, batch)["nll"].sum / len(batch.samples), per="row")}


class ObjectiveIgnoresPadding(Sum):
    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        return {"nll": Loss(super().forward(model, prefix, batch)["nll"].sum + batch.tokens.ids.sum(), per="token")}


class ContextGivesText(Other):
    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        return super().text(sample, features, excluding=excluding) if sample.references else None


class ContextDoesNotLeak(Other):
    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        return super().text(sample, features, excluding="nothing")


class ContextRebuildsFromAssets(Other):
    def fit(self, samples: Sequence[Sample], features: Callable[[int], Tensor] | None) -> None:
        super().fit(samples, features)
        self.file = self.file.rename(self.file.with_name("kept.json"))

    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        return super().text(sample, features, excluding=excluding) if self.file.exists() else ""
