"""The two formulas that CLIPScore (Hessel et al., 2021) and PAC-S (Sarto et al., 2023) share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ....core.protocols import Captioned, DataError, Scores
from .embedder import ClipEmbedder


class CaptionScore(ClipEmbedder):
    """`weight` * max(cos(caption, image), 0) per image, and the mean over images."""

    weight: ClassVar[float]

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` without captions or images, and `UnreadableSource` for an image that cannot be read."""
        sources = self.sources_of(captioned)
        texts = self.embed_texts([captioned.candidates[image_id] for image_id in sources])  # (B, D)
        pictures = self.embed_images(list(sources.values()))  # (B, D)
        similarity = (texts * pictures).sum(dim=-1).clamp(min=0)  # (B,)
        references = [captioned.references.get(image_id, ()) for image_id in sources]
        values = self.combine(self.weight * similarity, texts, references).tolist()
        return Scores({self.name: sum(values) / len(values)}, {self.name: dict(zip(sources, values, strict=True))})

    def signature(self) -> dict[str, str]:
        return self.facts(f"w = {self.weight}, ")

    def combine(self, scores: Tensor, texts: Tensor, references: Sequence[tuple[str, ...]]) -> Tensor:
        """The value of each image from its weighted similarity (B,), its caption's embedding (B, D) and its references."""
        return scores


class RefCaptionScore(CaptionScore):
    """Harmonic mean of that score and max(cos(caption, nearest reference), 0) per image, and the mean over images."""

    reference_free: ClassVar[str]  # the metric without references, for messages

    def combine(self, scores: Tensor, texts: Tensor, references: Sequence[tuple[str, ...]]) -> Tensor:
        counts = [len(captions) for captions in references]
        if not all(counts):
            raise DataError(
                f"{counts.count(0)} images have no references, which metric {self.name} needs.",
                fix=f"Add references, or use metric {self.reference_free}.",
            )
        embedded = self.embed_texts([caption for captions in references for caption in captions]).split(counts)
        nearest = torch.stack([(own @ text).max() for own, text in zip(embedded, texts, strict=True)]).clamp(min=0)
        return torch.where(scores + nearest > 0, 2 * scores * nearest / (scores + nearest), 0.0)
