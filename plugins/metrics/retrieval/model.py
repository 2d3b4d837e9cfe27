"""The heavy half of metric "retrieval"."""

from __future__ import annotations

import torch
from torch import Tensor

from ....core.protocols import Captioned, Scores
from ...libraries.open_clip.embedder import ClipEmbedder
from . import RANKS, RetrievalConfig

SAME = 1e-6  # similarities closer than this are equal: the same photo under two ids, or the same caption
ROWS = 1024  # captions that are compared with all images at once


class Retrieval(ClipEmbedder):
    """R@k: per image, the probability that it is among the k images nearest to its candidate; and the mean over images.

    The probability is 0 or 1 unless other images are as near as the own one: these stand in any order, so that equal photos
    share their places, and a model that sees no difference between images gets k / (number of images).
    """

    def __init__(self, config: RetrievalConfig) -> None:
        """Raises the errors of `ClipEmbedder`."""
        super().__init__(config)
        self.name = "retrieval"

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` without captions or images, and `UnreadableSource` for an image that cannot be read."""
        sources = self.sources_of(captioned)
        texts = self.embed_texts([captioned.candidates[image_id] for image_id in sources])  # (B, D)
        nearer, equal = _counts(texts, self.embed_images(list(sources.values())))
        per_image = {}
        for name, rank in zip(self.config.score_names(), RANKS, strict=True):
            values = ((rank - nearer) / equal).clamp(0, 1).tolist()
            per_image[name] = dict(zip(sources, values, strict=True))
        corpus = {name: sum(values.values()) / len(values) for name, values in per_image.items()}
        return Scores(corpus, per_image, {"num_images": str(len(sources))})

    def signature(self) -> dict[str, str]:
        return self.facts("")


def _counts(texts: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """For each row, the images that are nearer to the text than its own (B,), and those as near, the own one included."""
    nearer, equal = [], []
    for start in range(0, len(texts), ROWS):
        similarity = texts[start : start + ROWS] @ pictures.T  # (rows, B)
        own = similarity.diagonal(start)[:, None]  # (rows, 1)
        nearer.append((similarity > own + SAME).sum(dim=1))
        equal.append(((similarity - own).abs() <= SAME).sum(dim=1))
    return torch.cat(nearer).double(), torch.cat(equal).double()
