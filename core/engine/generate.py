"""Captions a split: once per image, in batches, shared out between processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..protocols import GenerateOptions, ImageId
from .features import SplitFeatures
from .model import CaptioningModel


@dataclass(frozen=True)
class Caption:
    """A generated caption and its natural-log probability under the model."""

    text: str
    log_prob: float


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bfloat16 autocast where `precision` asks for it: "bf16", or "auto" on CUDA."""
    enabled = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def caption_features(
    model: CaptioningModel,
    features: Tensor,
    options: GenerateOptions,
    *,
    seed: str,
    precision: str,
) -> list[tuple[Caption, ...]]:
    """Captions of each image of features (B, N, D) on the model's device; sampling depends on `seed` alone."""
    model.eval()
    devices = [features.device] if features.device.type == "cuda" else []  # by default: a context on every GPU there is
    with torch.inference_mode(), autocast(features.device, precision), torch.random.fork_rng(devices):
        torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big"))
        generated = model.generate(features, options)
    texts = model.as_decoder.detokenize(generated.ids)
    captions = [Caption(text, log_prob) for text, log_prob in zip(texts, generated.log_probs.tolist(), strict=True)]
    count = options.num_captions
    return [tuple(captions[start : start + count]) for start in range(0, len(captions), count)]


def caption_split(
    model: CaptioningModel,
    features: SplitFeatures,
    options: GenerateOptions,
    *,
    seed: int,
    precision: str,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None],
) -> dict[ImageId, tuple[Caption, ...]]:
    """Captions of this process's share of the split. The batches, and so the captions, are the same for any share."""
    rank, world = share
    captions: dict[ImageId, tuple[Caption, ...]] = {}
    starts = range(0, len(features), options.batch_size)[rank::world]
    for start in starts:
        places = range(start, min(start + options.batch_size, len(features)))
        made = caption_features(
            model, features.gather(places), options, seed=f"{seed} generate {start}", precision=precision
        )
        captions.update((features.samples[place].image_id, each) for place, each in zip(places, made, strict=True))
        progress(len(captions), -(-len(features) // world))
    return captions
