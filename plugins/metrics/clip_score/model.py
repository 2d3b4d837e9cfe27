"""The heavy half of metrics "clip-score" and "ref-clip-score"."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import open_clip
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from ....core.protocols import (
    ComponentError,
    DataError,
    ImageId,
    ImageSource,
    Scores,
    UnreadableImage,
    is_local_path,
    weights_fingerprint,
)
from . import ClipScoreConfig
from .towers import Towers, build_towers

WEIGHT = 2.5  # Hessel et al., 2021, section 3: stretches the scores to about 0..1


class ClipScore:
    """2.5 * max(cos(caption, image), 0) per image, and the mean over images.

    Captions are read raw, after the prompt "A photo depicts ", and cut at the model's context length. The model runs on
    the accelerator where there is one.
    """

    def __init__(self, config: ClipScoreConfig) -> None:
        """Raises `ComponentError`, `MissingWeights` or `BadCheckpoint`, see `build_towers` and `load_folder`."""
        (self.name,) = config.score_names()
        self.config = config
        towers = _find_towers(config)
        self.towers, self.transform, self._architecture = towers.model, towers.transform, towers.architecture
        self.tokenizer = open_clip.SimpleTokenizer(context_length=self.towers.context_length)
        self._fingerprint = weights_fingerprint(self.towers, towers.preprocessing)[:16]

    def score(self, candidates: Mapping[ImageId, str], references: Mapping[ImageId, tuple[str, ...]]) -> Scores:
        raise ComponentError(
            f"metric {self.name} needs the images as well as the captions.",
            fix="Score a run (`capfw evaluate`), or leave this metric out.",
        )

    def score_images(
        self,
        candidates: Mapping[ImageId, str],
        references: Mapping[ImageId, tuple[str, ...]],
        images: Mapping[ImageId, ImageSource],
    ) -> Scores:
        if not candidates:
            raise DataError("there are no captions to score.")
        lacking = [image_id for image_id in candidates if image_id not in images]
        if lacking:
            raise DataError(f"{len(lacking)} candidates have no image, the first for image {lacking[0]}.")
        ids = list(candidates)
        texts = self._embed_texts([candidates[image_id] for image_id in ids])  # (B, D)
        pictures = self._embed_images({image_id: images[image_id] for image_id in ids})  # (B, D)
        similarity = (texts * pictures).sum(dim=-1).clamp(min=0)  # (B,)
        values = self._combine(WEIGHT * similarity, texts, [references.get(image_id, ()) for image_id in ids]).tolist()
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

    @torch.no_grad()
    def _embed_texts(self, captions: Sequence[str]) -> Tensor:
        """L2-normalised text embeddings (B, D) float32, on the CPU."""
        device = _device()
        self.towers.to(device)
        embedded = []
        for start in range(0, len(captions), self.config.batch_size):
            batch = [self.config.prompt + caption for caption in captions[start : start + self.config.batch_size]]
            embedded.append(self.towers.encode_text(self.tokenizer(batch).to(device)).float().cpu())
        return F.normalize(torch.cat(embedded), dim=-1)

    @torch.no_grad()
    def _embed_images(self, images: Mapping[ImageId, ImageSource]) -> Tensor:
        """L2-normalised image embeddings (B, D) float32, on the CPU."""
        device = _device()
        self.towers.to(device)
        embedded, sources = [], list(images.items())
        for start in range(0, len(sources), self.config.batch_size):
            batch = sources[start : start + self.config.batch_size]
            pixels = torch.stack([self.transform(_open(source, image_id)) for image_id, source in batch])
            embedded.append(self.towers.encode_image(pixels.to(device)).float().cpu())
        return F.normalize(torch.cat(embedded), dim=-1)


class RefClipScore(ClipScore):
    """Harmonic mean of CLIPScore and the cosine (at least 0) with the nearest reference, per image, and the mean."""

    def _combine(self, scores: Tensor, texts: Tensor, references: Sequence[tuple[str, ...]]) -> Tensor:
        counts = [len(captions) for captions in references]
        if not all(counts):
            raise DataError(f"{counts.count(0)} images have no references, which metric {self.name} needs.")
        embedded = self._embed_texts([caption for captions in references for caption in captions]).split(counts)
        nearest = torch.stack([(own @ text).max() for own, text in zip(embedded, texts, strict=True)]).clamp(min=0)
        return torch.where(scores + nearest > 0, 2 * scores * nearest / (scores + nearest), 0.0)


def _find_towers(config: ClipScoreConfig) -> Towers:
    if is_local_path(config.weights) and Path(config.weights).is_dir():
        if config.model is not None:
            raise ComponentError("a folder says its own architecture.", option="model", fix='Leave out "model".')
        from .folders import load_folder  # its transformers is not needed otherwise

        towers = load_folder(Path(config.weights))
    else:
        towers = build_towers(config.model or "ViT-B-32", config.weights)
    towers.model.requires_grad_(False).eval()
    return towers


def _device() -> torch.device:
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def _open(source: ImageSource, image_id: ImageId) -> Image.Image:
    name = str(source) if isinstance(source, Path) else f"image {image_id}"
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(source) if isinstance(source, bytes) else source))
        if image.has_transparency_data:  # on white, as for the encoders
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return image.convert("RGB")
    except Exception as err:  # Pillow's decoders raise almost anything on damaged input
        raise UnreadableImage(f"cannot read the image: {err}", where=name) from err
