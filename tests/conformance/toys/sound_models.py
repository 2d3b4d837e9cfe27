"""The heavy half of `sound_toys`: each class keeps every promise of its protocol in as few lines as it can."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from sound_toys import (
    DiaryConfig,
    ElsewhereConfig,
    EyeConfig,
    FolderConfig,
    HearingConfig,
    LengthConfig,
    MapConfig,
    OtherConfig,
    SheetConfig,
    SumConfig,
    VoiceConfig,
)
from torch import Tensor, nn
from torch.nn import functional as F

from capfw.core.protocols import (
    Batch,
    Captioned,
    CaptionedImage,
    CaptionedSplit,
    CaptionModel,
    ComponentError,
    FeatureShape,
    FileSource,
    ForeignCheckpoint,
    ForeignFeatures,
    Generated,
    GenerateOptions,
    GreedyOptions,
    ImageId,
    LoggedRun,
    Loss,
    Metric,
    NucleusOptions,
    Prefix,
    Sample,
    Scores,
    Source,
    TokenBatch,
    UnreadableSource,
    image_transform,
    open_image,
    weights_fingerprint,
)

LONGEST = 40  # positions


def shrink(image: Image.Image, side: int, flip: bool) -> Tensor:
    image = image.resize((side, side))
    image = ImageOps.mirror(image) if flip else image
    return torch.from_numpy(np.array(image, dtype=np.float32) / 255).permute(2, 0, 1)


class Eye(nn.Module):
    def __init__(self, config: EyeConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.dropout = nn.Dropout(0.5)

    @property
    def feature_shape(self) -> FeatureShape:
        return FeatureShape(1 if self.config.features == "pooled" else (self.config.side // 4) ** 2, 6)

    @property
    def transform(self) -> Callable[[bytes], Tensor]:
        return image_transform(partial(shrink, side=self.config.side, flip=self.config.flip))

    def encode(self, inputs: Tensor) -> Tensor:
        tokens = self.dropout(self.patches(inputs)).flatten(2).transpose(1, 2)
        return tokens.mean(1, keepdim=True) if self.config.features == "pooled" else tokens

    def fingerprint(self) -> str:
        return weights_fingerprint(self, self.config.model_dump())


class QuickEye(Eye):
    def transform_batch(self, data: list[bytes], device: torch.device) -> Tensor:
        return torch.stack([self.transform(each) for each in data]).to(device)


def volume(data: bytes) -> Tensor:
    """WAV bytes (8 bits, one channel) -> loudness of each sample."""
    try:
        with wave.open(io.BytesIO(data)) as opened:
            samples = opened.readframes(16)
    except (wave.Error, EOFError) as err:
        raise UnreadableSource(f"no WAV: {err}") from err
    return torch.frombuffer(bytearray(samples.ljust(16, bytes([128]))), dtype=torch.uint8).float() - 128


class Hearing(nn.Module):
    feature_shape, transform = FeatureShape(1, 4), staticmethod(volume)

    def __init__(self, config: HearingConfig) -> None:
        super().__init__()
        self.project = nn.Linear(16, 4)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.project(inputs)[:, None]

    def fingerprint(self) -> str:
        return weights_fingerprint(self)


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
        self.embed.requires_grad_(config.table == "trained")

    @classmethod
    def prepare(cls, config: VoiceConfig, *, captions: Iterable[str], assets: Path) -> None:
        words = sorted({word for caption in captions for word in caption.split()})
        (assets / "words.json").write_text(json.dumps(["<eos>", *words]))

    @classmethod
    def read_words(cls, assets: Path) -> list[str]:
        return json.loads((assets / "words.json").read_text())

    def tokenize(self, texts: Sequence[str], *, end: bool = True) -> list[list[int]]:
        return [[*(self.ids.get(word, 0) for word in text.split()), *[0] * end] for text in texts]

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(self.words[i] for i in row if i) for row in ids]

    def hidden(self, before: Tensor, ids: Tensor) -> Tensor:
        """States (1, before + T, E); what may be read at each position is its own vector and those before it."""
        read = torch.cat([before, self.dropout(self.embed(ids))], dim=1)
        lengths = torch.arange(1, read.shape[1] + 1)[:, None]
        return read.cumsum(1) / lengths

    def before(self, prefix: Prefix, row: int) -> Tensor:
        """Vectors and text of a row (1, before, E)."""
        if prefix.text is None:
            return prefix.vectors[row : row + 1]
        text = self.embed(prefix.text.ids[row][prefix.text.mask[row]])
        return torch.cat([prefix.vectors[row], text])[None]

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        if prefix.vectors.shape[1] + tokens.ids.shape[1] > LONGEST:
            raise ComponentError("too long")
        befores = [self.before(prefix, row) for row in range(len(tokens.ids))]
        states = [
            self.hidden(before, ids[None, :-1])[0, before.shape[1] - 1 :]
            for before, ids in zip(befores, tokens.ids, strict=True)
        ]
        chosen = self.head(torch.stack(states)).log_softmax(-1).gather(2, tokens.ids[..., None])[..., 0]
        return chosen.masked_fill(~tokens.mask, 0.0)

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        return -(weights * self.log_probs(prefix, tokens)).sum()

    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        if not isinstance(options, GreedyOptions | NucleusOptions):
            raise ComponentError(f"no {options.method} here")
        made = []
        for row, seed in enumerate(seeds.tolist()):
            stream = torch.Generator().manual_seed(seed)
            made += [self.continue_row(self.before(prefix, row), options, stream) for _ in range(options.num_captions)]
        return Generated([ids for ids, _ in made], torch.tensor([log_prob for _, log_prob in made]))

    def continue_row(
        self, before: Tensor, options: GenerateOptions, stream: torch.Generator
    ) -> tuple[list[int], float]:
        ids: list[int] = []
        total = 0.0
        while len(ids) < options.max_tokens and ids[-1:] != [0]:
            log_probs = F.log_softmax(self.next_logits(before, ids, options.use_cache), dim=-1)
            greedy = isinstance(options, GreedyOptions)
            ids.append(int(log_probs.argmax() if greedy else torch.multinomial(log_probs.exp(), 1, generator=stream)))
            total += float(log_probs[ids[-1]])
        return ids, total

    def next_logits(self, before: Tensor, ids: list[int], use_cache: bool) -> Tensor:
        return self.head(self.hidden(before, torch.tensor([ids], dtype=torch.int64))[0, -1])


class Length:
    def __init__(self, config: LengthConfig) -> None:
        self.config = config

    def score(self, captioned: Captioned) -> Scores:
        return self.mean({i: float(len(text)) for i, text in captioned.candidates.items()})

    def mean(self, values: Mapping[ImageId, float]) -> Scores:
        return Scores({"length": sum(values.values()) / len(values)}, {"length": values})

    def signature(self) -> dict[str, str]:
        return {"unit": "letters"}


class Brightness(Length):
    def score(self, captioned: Captioned) -> Scores:
        sources = captioned.require_sources(needed_by="brightness")
        return self.mean({i: float(np.asarray(self.opened(sources[i])).mean()) for i in captioned.candidates})

    def opened(self, source: Source) -> Image.Image:
        return open_image(source.read(), name=source.name)


class Folder:
    def __init__(self, config: FolderConfig) -> None:
        self.config = config

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "val")

    def samples(self, split: str) -> Sequence[Sample]:
        files = sorted(self.config.images.glob(f"{split}-*.png"))
        return [Sample(file.stem, FileSource(file), (file.with_suffix(".txt").read_text(),)) for file in files]


class Elsewhere:
    def __init__(self, config: ElsewhereConfig) -> None:
        self.config = config

    def checkpoint(self, shapes: Mapping[str, tuple[int, ...]], embed_dim: int | None) -> ForeignCheckpoint | None:
        return ForeignCheckpoint({}, shapes["elsewhere"][0]) if "elsewhere" in shapes else None

    def features(self, file: Path) -> ForeignFeatures | None:
        return None


class Sheet:
    def __init__(self, config: SheetConfig) -> None: ...

    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        assert output is not None
        output.write_text("".join(f"{image.image_id}: {image.caption}\n" for image in results.images), encoding="utf-8")
        return "open it in an editor"


class Diary:
    def __init__(self, config: DiaryConfig) -> None:
        self.file = Path()

    def start(self, run: LoggedRun) -> str:
        self.file = run.folder / "diary.txt"
        return f"read {self.file}"

    def write(self, text: str) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.write(f"{step}: {values}")

    def log_examples(self, step: int, split: str, examples: Sequence[CaptionedImage]) -> None:
        self.write(f"{step}: {[each.caption for each in examples]}")

    def log_results(self, results: CaptionedSplit) -> None:
        self.write(str(results.table()))

    def finish(self, *, is_complete: bool) -> None:
        self.write(f"complete: {is_complete}")


class Sum(nn.Module):
    rows = "captions"
    is_row_wise = True

    def __init__(self, config: SumConfig, *, metrics: Sequence[Metric]) -> None:
        super().__init__()
        self.metrics = list(metrics)
        assert len(self.metrics) == config.rewards

    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> Mapping[str, Loss]:
        weights = batch.tokens.mask.float()
        for metric in self.metrics:
            drawn = model.generate(prefix, NucleusOptions(), batch.seeds)
            texts = dict(enumerate(model.detokenize(drawn.ids)))
            found = metric.score(Captioned(texts, {i: each.references for i, each in enumerate(batch.samples)}))
            weights = weights * torch.tensor([found.per_image["length"][i] + 1 for i in texts])[:, None]
        return {"nll": Loss(model.weighted_nll(prefix, batch.tokens, weights), per="token")}


class Other:
    def __init__(self, config: OtherConfig, *, assets: Path) -> None:
        self.by, self.file = config.by, assets / "images.json"

    def fit(self, samples: Sequence[Sample], features: Callable[[int], Tensor] | None) -> None:
        place = features or (lambda index: torch.tensor([float(index)]))
        known = [[s.image_id, s.references[0], place(i).flatten().tolist()] for i, s in enumerate(samples)]
        self.file.write_text(json.dumps(known))

    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        known = [each for each in json.loads(self.file.read_text()) if each[0] != excluding]
        here = torch.zeros(1) if features is None else features.flatten()
        return min(known, key=lambda each: float((torch.tensor(each[2]) - here).norm()))[1]
