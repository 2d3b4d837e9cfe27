"""`Captioner`: a trained run as an object that captions images."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import CapfwError, CapfwWarning, RequestError, UnreadableSource
from ..protocols import (
    Batch,
    Context,
    ContextConfig,
    Decoder,
    Encoder,
    FileSource,
    GenerateOptions,
    ImageId,
    ImageTransform,
    IncompatibleComponents,
    Mapper,
    MemorySource,
    Sample,
    Source,
    narrowed,
)
from ..registry import Registry, code_of
from ..spec import RunSpec, load_spec
from .assembling import fingerprints_of, load_model, loaded_best
from .build import build_context, build_encoder, check_positions
from .context import tokenized
from .devices import parse_device
from .generate import PURPOSE, Caption, caption_batch
from .inputs.reader import no_tokens
from .inputs.reading import InputReader, encode
from .model import CaptioningModel
from .run_directory import open_run
from .seeds import seed_of

ItemT = TypeVar("ItemT")
ImageInput: TypeAlias = Path | str | bytes | Image.Image | Source


@dataclass
class Captioner:
    """Encoder, mapper and decoder of a trained run, ready to caption. Several threads may caption at once.

    The fields are the parts themselves, for direct use; `with_parts` replaces them. Features are rounded to the stored
    dtype of the run (`spec.features.dtype`), so the captions equal those that `capfw evaluate` writes. Sampled captions
    are equal too if the image ids are given.
    """

    spec: RunSpec
    encoder: Encoder
    model: CaptioningModel
    device: torch.device
    context: Context | None = None

    @classmethod
    def load(
        cls, run_dir: Path | str, *, device: str | torch.device | None = None, registry: Registry | None = None
    ) -> Captioner:
        """Loads the best checkpoint of a run directory. It needs nothing else but frozen published weights.

        Warns (`CapfwWarning`) when the code of a component has changed since the run began. Raises `RequestError` when the
        directory holds no trained run, or when this machine has no such device. Raises `RunError` when a frozen part has
        other weights than in training (another library version may initialise random weights differently).
        """
        directory = open_run(run_dir)
        spec = load_spec(directory.path / "spec.json", registry=registry, check_files=False)
        where = parse_device(device)
        encoder = build_encoder(spec)
        model = load_model(spec, encoder, directory.assets, is_restored=True)
        directory.check_frozen(*fingerprints_of(encoder, model))
        directory.report_changed_code(code_of(spec.components), _warn)
        loaded_best(model, directory.checkpoints)
        if isinstance(encoder, torch.nn.Module):
            encoder.to(where)
        return cls(spec, encoder, model.to(where).eval(), where, build_context(spec, directory.assets))

    def with_parts(
        self, *, encoder: Encoder | None = None, mapper: Mapper | None = None, decoder: Decoder | None = None
    ) -> Captioner:
        """A new captioner with these parts in place of its own, on the same device and in eval mode.

        It keeps the feature mean and deviation of the run if the feature shape stays the same.
        Raises `IncompatibleComponents` when the parts do not fit each other.
        """
        is_tuned = self.model.encoder is not None and encoder is None
        encoder = self.encoder if encoder is None else encoder
        mapper = self.model.as_mapper if mapper is None else mapper
        decoder = self.model.as_decoder if decoder is None else decoder
        for part in (encoder, mapper, decoder):
            if isinstance(part, torch.nn.Module):
                part.to(self.device).eval()
        check_positions(self.spec, mapper, decoder)
        tuned_encoder = encoder if is_tuned else None
        model = CaptioningModel(mapper, decoder, encoder.feature_shape, tuned_encoder=tuned_encoder)
        model.to(self.device).eval()
        if model.features == self.model.features:
            model.feature_mean.copy_(self.model.feature_mean)
            model.feature_deviation.copy_(self.model.feature_deviation)
        _check_widths(model, self.device)
        return Captioner(self.spec, encoder, model, self.device, self.context)

    def caption(
        self,
        sources: Sequence[ImageInput],
        options: GenerateOptions | None = None,
        *,
        ids: Sequence[ImageId] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[tuple[Caption, ...]]:
        """Captions of each image, best first (see `Generated`); `options` default to those of the run's spec.

        Sampled captions depend on the run's seed and on the image: on its id in `ids`, or on its bytes without `ids`.
        The decoder reads `texts` before each caption, in place of the texts of the run's context. Raises
        `UnreadableSource`, naming the image. For a large collection use `stream`, which continues after such an error.
        """
        results = []
        for _, captions in self.stream(sources, options, ids=ids, texts=texts):
            if isinstance(captions, CapfwError):
                raise captions
            results.append(captions)
        return results

    def stream(
        self,
        sources: Iterable[ImageInput],
        options: GenerateOptions | None = None,
        *,
        ids: Iterable[ImageId] | None = None,
        texts: Iterable[str] | None = None,
    ) -> Iterator[tuple[ImageInput, tuple[Caption, ...] | CapfwError]]:
        """Yields each source with its captions, in order and in batches, or with the error if it cannot be read."""
        options = options or self.spec.generate
        waiting = iter(sources)
        named, told = _Beside("ids", ids), _Beside("texts", texts)
        while group := list(islice(waiting, options.batch_size)):
            yield from self._caption_group(group, options, named.take(len(group)), told.take(len(group)))
        named.require_end()
        told.require_end()

    def _caption_group(
        self,
        group: Sequence[ImageInput],
        options: GenerateOptions,
        ids: Sequence[ImageId] | None,
        texts: Sequence[str] | None,
    ) -> Iterator[tuple[ImageInput, tuple[Caption, ...] | CapfwError]]:
        read = self._read([_as_source(source) for source in group])
        places = [place for place, item in enumerate(read) if isinstance(item, Tensor)]
        captions: dict[int, tuple[Caption, ...]] = {}
        if places:
            inputs = torch.stack([item for item in read if isinstance(item, Tensor)]).to(self.device)
            batch = self._batch(
                inputs,
                [_as_source(group[place]) for place in places],
                None if ids is None else [ids[place] for place in places],
                None if texts is None else [texts[place] for place in places],
                is_sampled=options.is_sampled,
            )
            made = caption_batch(self.model, batch, options, precision=self.spec.train.precision)
            captions = dict(zip(places, made, strict=True))
        for place, (source, item) in enumerate(zip(group, read, strict=True)):
            yield source, item if isinstance(item, CapfwError) else captions[place]

    def _read(self, sources: Sequence[Source]) -> list[Tensor | UnreadableSource]:
        transform = getattr(self.encoder, "transform", None)
        if isinstance(transform, ImageTransform) and all(isinstance(source, _Opened) for source in sources):
            return [transform(source.image) for source in sources if isinstance(source, _Opened)]
        [items] = InputReader(self.encoder, self.device).read([sources])
        return items

    def _batch(
        self,
        inputs: Tensor,
        sources: Sequence[Source],
        ids: Sequence[ImageId] | None,
        texts: Sequence[str] | None,
        *,
        is_sampled: bool,
    ) -> Batch:
        """The batch for the model: features rounded to the stored dtype, or inputs of a tuned encoder."""
        if self.model.encoder is None:
            stored = torch.float16 if self.spec.features.dtype == "float16" else torch.float32
            inputs = encode(self.encoder, inputs).to(stored).float()  # (B, N, D)
        named: Sequence[ImageId] = ids or [source.name for source in sources]
        if ids is None and is_sampled:  # only then a source is read again
            named = [hashlib.sha256(source.read()).hexdigest() for source in sources]
        samples = [Sample(i, source, (), source.name) for i, source in zip(named, sources, strict=True)]
        if texts is None and self.context is not None:
            part = self.spec.context
            reads = part is not None and narrowed(part.config, ContextConfig).reads_features()
            features = [row.cpu() if reads else None for row in inputs]
            pairs = zip(samples, features, strict=True)
            texts = [self.context.text(sample, row, excluding=sample.image_id) for sample, row in pairs]
        rows = np.arange(len(samples))
        return Batch(
            samples,
            inputs,
            no_tokens(len(samples), self.device),
            None if texts is None else tokenized(self.model, texts).batch(rows, self.device),
            torch.tensor([seed_of(self.spec.seed, PURPOSE, i) for i in named], dtype=torch.int64),
        )


class _Beside(Generic[ItemT]):
    """Values that the caller gives beside the images, one per image."""

    def __init__(self, what: str, items: Iterable[ItemT] | None) -> None:
        self._what, self._items = what, None if items is None else iter(items)

    def take(self, count: int) -> list[ItemT] | None:
        """The next `count` values; None where the caller gave none."""
        if self._items is None:
            return None
        taken = list(islice(self._items, count))
        if len(taken) < count:
            what = f"there are fewer {self._what} than images."
            raise RequestError(what, where=self._what, fix="Give one per image.")
        return taken

    def require_end(self) -> None:
        """Raises `RequestError` when values are left."""
        if self._items is not None and list(islice(self._items, 1)):
            what = f"there are more {self._what} than images."
            raise RequestError(what, where=self._what, fix="Give one per image.")


@dataclass(frozen=True)
class _Opened:
    """An opened image as a source."""

    image: Image.Image
    name: str = "the image"

    def read(self) -> bytes:
        """The image as PNG."""
        written = io.BytesIO()
        self.image.convert("RGB").save(written, format="PNG", compress_level=0)
        return written.getvalue()

    def identity(self) -> None:
        """None: the image is in memory."""
        return


def _as_source(given: ImageInput) -> Source:
    if isinstance(given, Image.Image):
        return _Opened(given)
    if isinstance(given, bytes):
        return MemorySource(given, "the image")
    return FileSource(Path(given)) if isinstance(given, Path | str) else given


def _warn(text: str) -> None:
    warnings.warn(text, CapfwWarning, stacklevel=3)


def _check_widths(model: CaptioningModel, device: torch.device) -> None:
    """Runs the mapper on zeros for one image: only a run shows which widths it takes and returns."""
    num_tokens, dim, embed_dim = model.features.num_tokens, model.features.dim, model.as_decoder.embed_dim
    wanted = (1, model.as_mapper.prefix_length, embed_dim)
    try:
        with torch.inference_mode():
            given = tuple(model.as_mapper(torch.zeros(1, num_tokens, dim, device=device)).shape)
    except (RuntimeError, IncompatibleComponents) as err:
        reason = str(err).splitlines()[0]
        raise IncompatibleComponents(
            f"the mapper does not take features (B, {num_tokens}, {dim}): {reason}",
            fix="Build it with features=encoder.feature_shape.",
        ) from err
    if given != wanted:
        raise IncompatibleComponents(
            f"the mapper returns a prefix {given} for one image, but the decoder needs {wanted}.",
            fix="Build the mapper with embed_dim=decoder.embed_dim.",
        )
