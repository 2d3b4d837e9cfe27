"""Captions a split: once per image, in batches that the processes share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch

from ..protocols import Batch, GenerateOptions, ImageId
from .caption_tokens import tokens_of
from .inputs.reader import Reader
from .model import CaptioningModel
from .observing.notebook import html_table

PURPOSE = "generate"  # part of the seeds of sampled captions


@dataclass(frozen=True)
class Caption:
    """A generated caption and its natural-log probability under the model.

    `tokens` are the texts of its tokens, whose join is the caption, each with its natural-log probability; the last is ""
    for EOS. They are there where they were asked for.
    """

    text: str
    log_prob: float
    tokens: tuple[tuple[str, float], ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return f"Caption({self.text!r}, log_prob={self.log_prob:.3f})"


class ImageCaptions(tuple[Caption, ...]):
    """The captions of one image, best first: a tuple of `Caption`. `str` gives their texts, one per line."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The text of the best caption."""
        return self[0].text

    def __str__(self) -> str:
        return "\n".join(caption.text for caption in self)

    def __repr__(self) -> str:
        return f"ImageCaptions({', '.join(repr(caption.text) for caption in self)})"

    def _repr_html_(self) -> str:
        rows = [(caption.text, f"log-probability {caption.log_prob:.2f}") for caption in self]
        return html_table("Captions, best first" if len(self) > 1 else "Caption", rows)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Autocast to bfloat16 if `precision` is "bf16", or "auto" on CUDA."""
    enabled = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def caption_batch(
    model: CaptioningModel, batch: Batch, options: GenerateOptions, *, precision: str, with_tokens: bool = False
) -> list[ImageCaptions]:
    """Captions of each row of a batch on the model's device. Sampling depends only on the seeds of the rows.

    `with_tokens` adds the tokens of each row's best caption, which takes one more forward pass.
    """
    count = options.num_captions
    with torch.inference_mode(), autocast(batch.inputs.device, precision):
        prefix = model.prefix(batch)
        generated = model.generate(prefix, options, batch.seeds)
        best = tokens_of(model, prefix, generated.ids[::count]) if with_tokens else []
    texts = model.detokenize(generated.ids)
    captions = [Caption(text, log_prob) for text, log_prob in zip(texts, generated.log_probs.tolist(), strict=True)]
    for row, tokens in enumerate(best):
        captions[row * count] = replace(captions[row * count], tokens=tokens)
    return [ImageCaptions(captions[start : start + count]) for start in range(0, len(captions), count)]


def caption_split(
    model: CaptioningModel,
    reader: Reader,
    options: GenerateOptions,
    *,
    precision: str,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None],
) -> dict[ImageId, ImageCaptions]:
    """Captions of this process's share of the split. The batches, and so the captions, are equal for every share."""
    model.eval()
    rank, world = share
    num_images = len(reader.inputs.samples)
    starts = range(0, num_images, options.batch_size)[rank::world]
    groups = [range(start, min(start + options.batch_size, num_images)) for start in starts]
    captions: dict[ImageId, ImageCaptions] = {}
    for batch in reader.of_images(groups, PURPOSE):
        made = caption_batch(model, batch, options, precision=precision, with_tokens=True)
        captions.update((sample.image_id, each) for sample, each in zip(batch.samples, made, strict=True))
        progress(len(captions), sum(map(len, groups)))
    return captions
