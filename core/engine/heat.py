"""Heat maps of a caption's words: gradient x input of the features, for any mapper and decoder.

The map of a word is the gradient of its log-probability with respect to the standardised features, times these features,
summed over their width (Shrikumar et al., 2017, arXiv 1605.01713). A patch with a positive value makes the word more
probable than the mean of the training features would.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import RequestError
from ..protocols import Prefix, Source
from ..protocols.images import ImageTransform, open_image
from ..registry import Registry
from .caption_tokens import token_batch, token_texts
from .captioner import Captioner
from .inputs.reading import InputReader
from .inputs.rows import Row


@dataclass(frozen=True)
class HeatMaps:
    """The map of each word, row by row over the grid of patches.

    `box` is the part of the photo under the grid: left, top, right and bottom as fractions of its width and height.
    """

    grid: tuple[int, int]
    box: tuple[float, float, float, float]
    words: Sequence[tuple[str, Sequence[float]]]

    def to_json(self) -> dict[str, object]:
        """JSON values."""
        words = [{"text": text, "map": [float(f"{value:.3g}") for value in values]} for text, values in self.words]
        return {"grid": list(self.grid), "box": list(self.box), "words": words}


def heat_maps(captioner: Captioner, source: Source, caption: str) -> HeatMaps:
    """The heat maps of the words of `caption` over the photo in `source`.

    Raises `RequestError` for an encoder without a grid of patches, or one that does not report the part of a photo that
    it sees, and `UnreadableSource` for a photo that cannot be read.
    """
    shape, transform = captioner.encoder.feature_shape, captioner.encoder.transform
    photo = open_image(source.read(), name=source.name)
    box = transform.box(*photo.size) if isinstance(transform, ImageTransform) else None
    if shape.grid is None:
        fix = "Use an encoder with patch tokens (/encoder/features)."
        raise RequestError("the features of this encoder are no grid of patches.", where="/encoder", fix=fix)
    if box is None:
        fix = "Pass keeps=... to image_transform in the encoder."
        raise RequestError("this encoder does not report the part of a photo that it sees.", where="/encoder", fix=fix)
    [ids] = captioner.model.as_decoder.tokenize([caption])
    heat = _heat(captioner, source, ids)[:, shape.num_extra_tokens :]  # (T, rows * columns)
    texts = token_texts(captioner.model, [ids])[0]
    left, top, right, bottom = box
    width, height = photo.size
    fractions = left / width, top / height, right / width, bottom / height
    return HeatMaps(shape.grid, fractions, _by_word(texts, heat))


def _heat(captioner: Captioner, source: Source, ids: Sequence[int]) -> Tensor:
    """Gradient x input of each token's log-probability (T, N), from one forward and one backward pass over T rows."""
    model, count = captioner.model, len(ids)
    [[read]] = InputReader(captioner.encoder, captioner.device).read([[source]])
    if not isinstance(read, Tensor):
        raise read
    batch = captioner.batch(read[None].to(captioner.device), [Row(source, None, None)], is_sampled=False)
    with torch.no_grad():
        features = model.standardized(batch)  # (1, N, D)
    rows = features.expand(count, -1, -1).clone().requires_grad_()  # (T, N, D): row t for token t
    text = None if batch.text is None else batch.text.repeat(count)
    tokens = token_batch([ids], captioner.device).repeat(count)
    with torch.enable_grad():
        log_probs = model.log_probs(Prefix(model.as_mapper(rows), text), tokens)  # (T, T)
        [gradient] = torch.autograd.grad(log_probs.diagonal().sum(), rows)
    return (gradient * rows).detach().sum(-1).float().nan_to_num().cpu()


def _by_word(texts: Sequence[str], heat: Tensor) -> list[tuple[str, list[float]]]:
    """The sum over the tokens of each word; the token that ends the caption is left out."""
    words: list[tuple[str, Tensor]] = []
    for place, (text, values) in enumerate(zip(texts, heat, strict=True)):
        if not text and place == len(texts) - 1:
            continue
        if words and not text[:1].isspace():  # "" is a part of a letter
            words[-1] = words[-1][0] + text, words[-1][1] + values
        else:
            words.append((text, values))
    return [(text.strip(), values.tolist()) for text, values in words]


class HeatMapper:
    """Computes heat maps of runs, one at a time. It loads a run when it is first asked for one."""

    def __init__(self, run_dirs: Sequence[Path], registry: Registry | None = None) -> None:
        self._run_dirs, self._registry = run_dirs, registry
        self._lock = threading.Lock()
        self._loaded: dict[int, Captioner] = {}

    def __call__(self, system: int, source: Source, caption: str) -> Mapping[str, object]:
        """The maps of a caption of the run with this number, as JSON values. Raises `CapfwError`."""
        with self._lock:
            if system not in self._loaded:
                self._loaded[system] = Captioner.load(self._run_dirs[system], registry=self._registry)
            return heat_maps(self._loaded[system], source, caption).to_json()
