"""Embeds captions and images with one CLIP model."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.protocols import (
    Captioned,
    ComponentError,
    DataError,
    ImageId,
    PublishedWeights,
    Source,
    open_image,
    weights_fingerprint,
)
from ..clip_options import ClipOptions
from .finder import find_clip, published_clip
from .models import build_both_towers
from .pixels import clip_transform
from .source import ClipSource

VOCABULARY_SIZE = 49408  # CLIP's own tokenizer, which is part of open_clip


class ClipEmbedder(nn.Module):
    """The base of metrics that compare captions with images in the space of a CLIP model.

    Captions are raw, follow the prompt, and are cut at the model's context length. The model runs on its own device, to
    which the engine moves it. `name` is the metric's name in messages.
    """

    def __init__(self, config: ClipOptions) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for a model without CLIP's own tokenizer."""
        super().__init__()
        self.config, self.name = config, config.score_names()[0]
        source = find_clip(config.architecture(), config.weights)
        _require_own_tokenizer(source)
        source.warn_of_unsettled()
        self.towers = build_both_towers(source)
        self.transform, pixel_facts = clip_transform(source, self.towers.visual.image_size)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=self.towers.context_length)
        self._architecture = source.name
        self._fingerprint = weights_fingerprint(self.towers, pixel_facts)[:16]
        self.eval()

    @classmethod
    def published_weights(cls, config: ClipOptions) -> Sequence[PublishedWeights]:
        return published_clip(config.architecture(), config.weights)

    def facts(self, variant: str) -> dict[str, str]:
        """The signature; `variant` ends the fact of this name."""
        return {
            "tokenizer": "CLIP byte pairs (open_clip)",
            "library": f"open_clip {open_clip.__version__}",
            "variant": f'{self._architecture}, {self.config.weights}, {variant}prompt "{self.config.prompt}"',
            "weights": self._fingerprint,
        }

    def sources_of(self, captioned: Captioned) -> dict[ImageId, Source]:
        """The image of each candidate, in their order. Raises `DataError` without captions or images."""
        candidates, sources = captioned.candidates, captioned.require_sources(needed_by=self.name)
        if not candidates:
            raise DataError("there are no captions to score.", fix="Score at least one image.")
        lacking = [image_id for image_id in candidates if image_id not in sources]
        if lacking:
            raise DataError(
                f"{len(lacking)} candidates have no image, the first for image {lacking[0]}.",
                fix="Give the image of every candidate.",
            )
        return {image_id: sources[image_id] for image_id in candidates}

    @torch.no_grad()
    def embed_texts(self, captions: Sequence[str]) -> Tensor:
        """Returns L2-normalised text embeddings (B, D) float32, on the CPU."""
        device, embedded = self._device(), []
        for start in range(0, len(captions), self.config.batch_size):
            batch = [self.config.prompt + caption for caption in captions[start : start + self.config.batch_size]]
            embedded.append(self.towers.encode_text(self.tokenizer(batch).to(device)).float().cpu())
        return F.normalize(torch.cat(embedded), dim=-1)

    @torch.no_grad()
    def embed_images(self, sources: Sequence[Source]) -> Tensor:
        """Returns L2-normalised image embeddings (B, D) float32, on the CPU. Raises `UnreadableSource`."""
        device, embedded = self._device(), []
        for start in range(0, len(sources), self.config.batch_size):
            batch = sources[start : start + self.config.batch_size]
            opened = [open_image(source.read(), name=source.name) for source in batch]
            pixels = torch.stack([self.transform(image) for image in opened])
            embedded.append(self.towers.encode_image(pixels.to(device)).float().cpu())
        return F.normalize(torch.cat(embedded), dim=-1)

    def _device(self) -> torch.device:
        return next(self.parameters()).device


def _require_own_tokenizer(source: ClipSource) -> None:
    text = source.architecture.get("text_cfg", {})
    assert isinstance(text, dict)
    other = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if other or text.get("vocab_size", VOCABULARY_SIZE) != VOCABULARY_SIZE:
        raise ComponentError(
            "this model does not read the vocabulary of CLIP's own tokenizer"
            + (f' (it needs "{other}").' if other else f" ({VOCABULARY_SIZE} tokens)."),
            option="model",
            fix='Use "ViT-B-32", or another open_clip model with CLIP\'s tokenizer.',
        )
