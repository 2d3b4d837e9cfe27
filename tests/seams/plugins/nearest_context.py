"""Context "nearest": each image gets a caption of the training image that is most like it, and never one of its own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from capfw.core.protocols import Component, ContextConfig, ImageId, Sample, hookimpl


class NearestConfig(ContextConfig):
    """The context has no options."""

    def reads_features(self) -> bool:
        """It compares features."""
        return True


class Nearest:
    """The first caption of the nearest training image, by the cosine of the mean features."""

    def __init__(self, config: NearestConfig, *, assets: Path) -> None:
        self.index, self.captions = assets / "index.pt", assets / "captions.json"

    def fit(self, samples: Sequence[Sample], features: Callable[[int], Tensor] | None) -> None:
        assert features is not None
        torch.save(torch.stack([features(place).mean(0) for place in range(len(samples))]), self.index)  # (images, D)
        self.captions.write_text(json.dumps([[sample.image_id, sample.references[0]] for sample in samples]))

    def text(self, sample: Sample, features: Tensor | None, *, excluding: ImageId) -> str:
        assert features is not None
        likeness = F.cosine_similarity(torch.load(self.index, weights_only=True), features.mean(0)[None])
        captions = json.loads(self.captions.read_text())
        order = likeness.argsort(descending=True).tolist()
        others = (captions[place] for place in order if captions[place][0] != excluding)
        return next(text for _, text in others if text not in sample.references)


@hookimpl
def register_contexts() -> list[Component]:
    target, summary = f"{__name__}:Nearest", "A caption of the nearest training image."
    return [Component("nearest", NearestConfig, target, summary, example=NearestConfig())]
