"""The heavy half of `sound_toys`: each class keeps every promise of its protocol in as few lines as it can."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from sound_toys import EyeConfig, FolderConfig, LengthConfig, MapConfig, VoiceConfig
from torch import Tensor, nn
from torch.nn import functional as F

from capfw.core.protocols import (
    ComponentError,
    FeatureShape,
    Generated,
    GenerateOptions,
    GreedyOptions,
    NucleusOptions,
    Sample,
    Scores,
    TokenBatch,
    weights_fingerprint,
)

LONGEST = 40  # positions


class Eye(nn.Module):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.dropout = nn.Dropout(0.5)

    @property
    def feature_shape(self) -> FeatureShape:
        return FeatureShape(1 if self.config.features == "pooled" else (self.config.side // 4) ** 2, 6)

    def preprocess(self, image: Image.Image) -> Tensor:
        image = image.resize((self.config.side, self.config.side))
        image = ImageOps.mirror(image) if self.config.flip else image
        return torch.from_numpy(np.array(image, dtype=np.float32) / 255).permute(2, 0, 1)

    def encode(self, pixels: Tensor) -> Tensor:
        tokens = self.dropout(self.patches(pixels)).flatten(2).transpose(1, 2)
        return tokens.mean(1, keepdim=True) if self.config.features == "pooled" else tokens

    def fingerprint(self) -> str:
        return weights_fingerprint(self, self.config.model_dump())


class Map(nn.Module):
    def __init__(self, config: MapConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        self.prefix_length, self.embed_dim = config.prefix_length, embed_dim
        self.project = nn.Linear(features.dim, config.prefix_length * embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.project(features.mean(1)).view(-1, self.prefix_length, self.embed_dim)


class PooledMap(Map):
    def __init__(self, config: MapConfig, *, features: FeatureShape, embed_dim: int) -> None:
        features.require_pooled(needed_by="pooled-map")
        super().__init__(config, features=features, embed_dim=embed_dim)


class Voice(nn.Module):
    """The next token depends on the mean of all vectors so far, through an output layer."""

    embed_dim = 8
    max_positions = LONGEST

    def __init__(self, config: VoiceConfig, *, assets: Path) -> None:
        super().__init__()
        self.words = self.read_words(assets)
        self.ids = {word: number for number, word in enumerate(self.words)}
        self.embed = nn.Embedding(len(self.words), self.embed_dim)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(self.embed_dim, len(self.words))
        self.is_frozen = config.tuning == "frozen"
        self.requires_grad_(not self.is_frozen)

    @classmethod
    def prepare(cls, config: VoiceConfig, *, captions: Iterable[str], assets: Path) -> None:
        words = sorted({word for caption in captions for word in caption.split()})
        (assets / "words.json").write_text(json.dumps(["<eos>", *words]))

    @classmethod
    def read_words(cls, assets: Path) -> list[str]:
        return json.loads((assets / "words.json").read_text())

    def train(self, mode: bool = True) -> Voice:
        return super().train(mode and not self.is_frozen)

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        return [[*(self.ids.get(word, 0) for word in caption.split()), 0] for caption in captions]

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(self.words[i] for i in row if i) for row in ids]

    def hidden(self, prefix: Tensor, ids: Tensor) -> Tensor:
        """States (B, P + T, E); what may be read at each position is its own vector and those before it."""
        read = torch.cat([prefix, self.dropout(self.embed(ids))], dim=1)
        lengths = torch.arange(1, read.shape[1] + 1)[:, None]
        return read.cumsum(1) / lengths

    def loss(self, prefix: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        if prefix.shape[1] + tokens.ids.shape[1] > LONGEST:
            raise ComponentError("too long")
        states = self.hidden(prefix, tokens.ids[:, :-1])[:, prefix.shape[1] - 1 :]
        logits = self.head(states)[tokens.mask]
        return F.cross_entropy(logits, tokens.ids[tokens.mask], reduction="sum"), tokens.mask.sum()

    def generate(self, prefix: Tensor, options: GenerateOptions) -> Generated:
        if not isinstance(options, GreedyOptions | NucleusOptions):
            raise ComponentError(f"no {options.method} here")
        rows = [row for row in prefix for _ in range(options.num_captions)]
        made = [self.continue_row(row[None], options) for row in rows]
        return Generated([ids for ids, _ in made], torch.tensor([log_prob for _, log_prob in made]))

    def continue_row(self, prefix: Tensor, options: GenerateOptions) -> tuple[list[int], float]:
        ids: list[int] = []
        total = 0.0
        while len(ids) < options.max_tokens and ids[-1:] != [0]:
            log_probs = F.log_softmax(self.next_logits(prefix, ids, options.use_cache), dim=-1)
            greedy = isinstance(options, GreedyOptions)
            ids.append(int(log_probs.argmax() if greedy else torch.multinomial(log_probs.exp(), 1)))
            total += float(log_probs[ids[-1]])
        return ids, total

    def next_logits(self, prefix: Tensor, ids: list[int], use_cache: bool) -> Tensor:
        return self.head(self.hidden(prefix, torch.tensor([ids], dtype=torch.int64))[0, -1])


class Length:
    def __init__(self, config: LengthConfig) -> None:
        self.config = config

    def score(self, candidates: Mapping[str, str], references: Mapping[str, tuple[str, ...]]) -> Scores:
        values = {i: float(len(text)) for i, text in candidates.items()}
        return Scores({"length": sum(values.values()) / len(values)}, {"length": values})

    def signature(self) -> dict[str, str]:
        return {"unit": "letters"}


class Brightness(Length):
    def score_images(
        self,
        candidates: Mapping[str, str],
        references: Mapping[str, tuple[str, ...]],
        images: Mapping[str, Path | bytes],
    ) -> Scores:
        opened = {i: Image.open(io.BytesIO(self.read(image))) for i, image in images.items()}
        values = {i: float(np.asarray(opened[i]).mean()) for i in candidates}
        return Scores({"length": sum(values.values()) / len(values)}, {"length": values})

    def read(self, image: Path | bytes) -> bytes:
        return image if isinstance(image, bytes) else image.read_bytes()


class Folder:
    def __init__(self, config: FolderConfig) -> None:
        self.config = config

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "val")

    def samples(self, split: str) -> Sequence[Sample]:
        files = sorted(self.config.images.glob(f"{split}-*.png"))
        return [Sample(file.stem, file, (file.with_suffix(".txt").read_text(),)) for file in files]
