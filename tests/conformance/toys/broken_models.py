"""Sound mappers and decoders with one thing spoiled each, called after the check that must find it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from sound_models import (
    Map,
    PooledMap,
    Voice,
)
from sound_toys import MapConfig, VoiceConfig
from torch import Tensor, nn

from capfw.core.protocols import (
    FeatureShape,
    Generated,
    GenerateOptions,
    Prefix,
    TokenBatch,
)


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
