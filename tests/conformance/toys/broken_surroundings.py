"""Sound metrics, data sets, importers, objectives and contexts with one thing spoiled each, called after the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sound_models import (
    Brightness,
    Diary,
    Elsewhere,
    Folder,
    Length,
    Other,
    Sheet,
    Sum,
)
from torch import Tensor

from capfw.core.protocols import (
    Batch,
    CapfwError,
    Captioned,
    CaptionedSplit,
    CaptionModel,
    ForeignFeatures,
    ImageId,
    LoggedRun,
    Loss,
    MemorySource,
    Prefix,
    Sample,
    Scores,
    Source,
)


class ScoresAsNamed(Length):
    def score(self, captioned: Captioned) -> Scores:
        return Scores({"letters": super().score(captioned).corpus["length"]})


class LeavesScoresOut(Length):
    def score(self, captioned: Captioned) -> Scores:
        return Scores({}) if captioned.n_best is None else super().score(captioned)


class ScoresEachImage(Length):
    def score(self, captioned: Captioned) -> Scores:
        scores = super().score(captioned)
        return replace(
            scores, per_image={"length": {f"{i}.jpg": value for i, value in scores.per_image["length"].items()}}
        )


class StatisticsGiveCorpus(Length):
    def score(self, captioned: Captioned) -> Scores:
        return replace(super().score(captioned), statistics={i: [len(t), 1] for i, t in captioned.candidates.items()})

    @staticmethod
    def corpus_of(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {"length": sums[..., 0]}  # not divided by the number of images


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


class RecordsARun(Diary):
    def log_results(self, results: CaptionedSplit) -> None:
        self.write(" ".join(image.caption.split()[0] for image in results.images))


class ContinuesARecord(Diary):
    def start(self, run: LoggedRun) -> str:
        place = super().start(run)
        self.file = self.file.with_suffix(".new" if run.is_resumed else ".txt")
        if run.is_resumed:
            self.file.with_suffix(".txt").unlink()
        return place


class NamesItsPlace(Diary):
    def start(self, run: LoggedRun) -> str:
        return super().start(run)[:0]


class ExportsASplit(Sheet):
    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        return f"{super().export(results, output)}: {[image.caption.split()[0] for image in results.images]}"


class SaysHowToOpenIt(Sheet):
    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        return super().export(results, output)[:0]
