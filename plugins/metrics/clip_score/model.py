"""The heavy half of metrics "clip-score" and "ref-clip-score"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.protocols import (
    Captioned,
    ComponentError,
    DataError,
    PublishedWeights,
    Scores,
    Source,
    is_local_path,
    open_image,
    weights_fingerprint,
)
from ...libraries.clip_architectures import TwoTowers
from ...libraries.open_clip import ClipSource, build_both_towers, clip_transform, find_clip, published_clip
from . import ClipScoreConfig

WEIGHT = 2.5  # Hessel et al., 2021, section 3: stretches the scores to about 0..1
VOCABULARY_SIZE = 49408  # CLIP's own tokenizer, which is part of open_clip


class ClipScore(nn.Module):
    """2.5 * max(cos(caption, image), 0) per image, and the mean over images.

    Captions are raw, follow the prompt ("A photo depicts "), and are cut at the model's context length. The model runs on
    its own device, to which the engine moves it.
    """

    def __init__(self, config: ClipScoreConfig) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for a model without CLIP's own tokenizer."""
        super().__init__()
        (self.name,) = config.score_names()
        self.config = config
        source = _find_source(config)
        source.warn_of_unsettled()
        self.towers = build_both_towers(source)
        self.transform, pixel_facts = clip_transform(source, self.towers.visual.image_size)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=self.towers.context_length)
        self._architecture = source.name
        self._fingerprint = weights_fingerprint(self.towers, pixel_facts)[:16]
        self.eval()

    @classmethod
    def published_weights(cls, config: ClipScoreConfig) -> Sequence[PublishedWeights]:
        return published_clip(_model(config), config.weights)

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` without captions or images, and `UnreadableSource` for an image that cannot be read."""
        candidates, sources = captioned.candidates, captioned.require_sources(needed_by=self.name)
        if not candidates:
            raise DataError("there are no captions to score.", fix="Score at least one image.")
        lacking = [image_id for image_id in candidates if image_id not in sources]
        if lacking:
            raise DataError(
                f"{len(lacking)} candidates have no image, the first for image {lacking[0]}.",
                fix="Give the image of every candidate.",
            )
        ids = list(candidates)
        texts = self._embed_texts([candidates[image_id] for image_id in ids])  # (B, D)
        pictures = self._embed_images([sources[image_id] for image_id in ids])  # (B, D)
        similarity = (texts * pictures).sum(dim=-1).clamp(min=0)  # (B,)
        references = [captioned.references.get(image_id, ()) for image_id in ids]
        values = self._combine(WEIGHT * similarity, texts, references).tolist()
        return Scores({self.name: sum(values) / len(values)}, {self.name: dict(zip(ids, values, strict=True))})

    def signature(self) -> dict[str, str]:
        return {
            "tokenizer": "CLIP byte pairs (open_clip)",
            "library": f"open_clip {open_clip.__version__}",
            "variant": f'{self._architecture}, {self.config.weights}, w = {WEIGHT}, prompt "{self.config.prompt}"',
            "weights": self._fingerprint,
        }

    def _combine(self, scores: Tensor, texts: Tensor, references: Sequence[tuple[str, ...]]) -> Tensor:
        return scores

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def _embed_texts(self, captions: Sequence[str]) -> Tensor:
        """Returns L2-normalised text embeddings (B, D) float32, on the CPU."""
        device, embedded = self._device(), []
        for start in range(0, len(captions), self.config.batch_size):
            batch = [self.config.prompt + caption for caption in captions[start : start + self.config.batch_size]]
            embedded.append(self.towers.encode_text(self.tokenizer(batch).to(device)).float().cpu())
        return F.normalize(torch.cat(embedded), dim=-1)

    @torch.no_grad()
    def _embed_images(self, sources: Sequence[Source]) -> Tensor:
        """Returns L2-normalised image embeddings (B, D) float32, on the CPU."""
        device, embedded = self._device(), []
        for start in range(0, len(sources), self.config.batch_size):
            batch = sources[start : start + self.config.batch_size]
            opened = [open_image(source.read(), name=source.name) for source in batch]
            pixels = torch.stack([self.transform(image) for image in opened])
            embedded.append(self.towers.encode_image(pixels.to(device)).float().cpu())
        return F.normalize(torch.cat(embedded), dim=-1)


class RefClipScore(ClipScore):
    """Harmonic mean of CLIPScore and max(cos(caption, nearest reference), 0) per image, and the mean over images."""

    def _combine(self, scores: Tensor, texts: Tensor, references: Sequence[tuple[str, ...]]) -> Tensor:
        counts = [len(captions) for captions in references]
        if not all(counts):
            raise DataError(
                f"{counts.count(0)} images have no references, which metric {self.name} needs.",
                fix="Add references, or use metric clip-score.",
            )
        embedded = self._embed_texts([caption for captions in references for caption in captions]).split(counts)
        nearest = torch.stack([(own @ text).max() for own, text in zip(embedded, texts, strict=True)]).clamp(min=0)
        return torch.where(scores + nearest > 0, 2 * scores * nearest / (scores + nearest), 0.0)


def _find_source(config: ClipScoreConfig) -> ClipSource:
    source = find_clip(_model(config), config.weights)
    _require_own_tokenizer(source)
    return source


def _model(config: ClipScoreConfig) -> str | dict[str, object] | None:
    """Returns the architecture: the option, or that of a folder (None), or the paper's."""
    if isinstance(config.model, TwoTowers):
        return config.model.model_dump()
    is_folder = is_local_path(config.weights) and Path(config.weights).is_dir()
    return config.model or (None if is_folder else "ViT-B-32")


def _require_own_tokenizer(source: ClipSource) -> None:
    text = source.architecture.get("text_cfg", {})
    assert isinstance(text, dict)
    other = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if other or text.get("vocab_size", VOCABULARY_SIZE) != VOCABULARY_SIZE:
        raise ComponentError(
            "this model does not read the vocabulary of CLIP's own tokenizer"
            + (f' (it needs "{other}").' if other else f" ({VOCABULARY_SIZE} tokens)."),
            option="model",
            fix='Use "ViT-B-32", with which CLIPScore was defined, or another open_clip model with CLIP\'s tokenizer.',
        )
