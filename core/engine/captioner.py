"""`Captioner`: a trained run as an object that captions images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from PIL import Image

from ..errors import CapfwError, RequestError
from ..protocols import Decoder, Encoder, GenerateOptions, IncompatibleComponents, Mapper, open_image
from ..registry import Registry
from ..spec import RunSpec, load_spec
from . import images
from .build import build_encoder, build_model, check_positions
from .generate import Caption, caption_features
from .model import CaptioningModel
from .run_directory import open_run

ImageInput: TypeAlias = Path | str | bytes | Image.Image


@dataclass
class Captioner:
    """Encoder, mapper and decoder of a trained run, ready to caption.

    The fields are the parts themselves, to be used one by one; `with_parts` puts others in their place. Features pass
    through the stored dtype of the run (`spec.features.dtype`), so captions are those that `capfw evaluate` writes
    (sampled ones aside, whose seed is another).
    """

    spec: RunSpec
    encoder: Encoder
    model: CaptioningModel
    device: torch.device

    @classmethod
    def load(cls, run_dir: Path | str, *, device: str | None = None, registry: Registry | None = None) -> Captioner:
        """Loads the best checkpoint of a run directory; needs nothing else but frozen published weights.

        Raises `RequestError` when the directory holds no trained run, or when there is no such device here, and `RunError`
        when a frozen part comes out other than it was trained with (another library version may initialise random weights
        differently).
        """
        directory = open_run(run_dir)
        folder, best = directory.path, directory.best_checkpoint()
        spec = load_spec(folder / "spec.json", registry=registry, check_files=False)
        where = _device(device)
        encoder = build_encoder(spec)
        model = build_model(spec, encoder.feature_shape, folder / "assets", is_restored=True)
        directory.check_frozen(encoder.fingerprint(), model.frozen_fingerprint())
        model.load_saved_state(directory.checkpoints.weights(best.step))
        if isinstance(encoder, torch.nn.Module):
            encoder.to(where)
        return cls(spec, encoder, model.to(where).eval(), where)

    def with_parts(
        self, *, encoder: Encoder | None = None, mapper: Mapper | None = None, decoder: Decoder | None = None
    ) -> Captioner:
        """A captioner with these parts in place of its own, on the same device and in eval mode; this one stays.

        How the run standardises features is kept as long as they keep their shape.
        Raises `IncompatibleComponents` when the parts do not fit each other.
        """
        encoder = self.encoder if encoder is None else encoder
        mapper = self.model.as_mapper if mapper is None else mapper
        decoder = self.model.as_decoder if decoder is None else decoder
        for part in (encoder, mapper, decoder):
            if isinstance(part, torch.nn.Module):
                part.to(self.device).eval()
        check_positions(self.spec, mapper, decoder)
        model = CaptioningModel(mapper, decoder, encoder.feature_shape).to(self.device).eval()
        if model.features == self.model.features:
            model.feature_mean.copy_(self.model.feature_mean)
            model.feature_deviation.copy_(self.model.feature_deviation)
        _check_widths(model, self.device)
        return Captioner(self.spec, encoder, model, self.device)

    def caption(
        self,
        sources: Sequence[ImageInput],
        options: GenerateOptions | None = None,
    ) -> list[tuple[Caption, ...]]:
        """Captions of each image, the best first (see `Generated`); `options` default to those of the run's spec.

        Raises `UnreadableImage` naming the image. For a large collection use `stream`, which goes on.
        """
        results = []
        for _, captions in self.stream(sources, options):
            if isinstance(captions, CapfwError):
                raise captions
            results.append(captions)
        return results

    def stream(
        self,
        sources: Iterable[ImageInput],
        options: GenerateOptions | None = None,
    ) -> Iterator[tuple[ImageInput, tuple[Caption, ...] | CapfwError]]:
        """Each source with its captions, in order and in batches; with the error where it cannot be read."""
        options = options or self.spec.generate
        batch: list[ImageInput] = []
        for source in sources:
            batch.append(source)
            if len(batch) == options.batch_size:
                yield from self._caption_batch(batch, options)
                batch = []
        if batch:
            yield from self._caption_batch(batch, options)

    def _caption_batch(
        self, sources: Sequence[ImageInput], options: GenerateOptions
    ) -> Iterator[tuple[ImageInput, tuple[Caption, ...] | CapfwError]]:
        pixels: list[torch.Tensor] = []
        errors: dict[int, CapfwError] = {}
        for place, source in enumerate(sources):
            try:
                pixels.append(self.encoder.preprocess(_open(source)))
            except CapfwError as err:
                errors[place] = err
        captions = iter(self._caption_pixels(torch.stack(pixels), options) if pixels else ())
        for place, source in enumerate(sources):
            yield source, errors[place] if place in errors else next(captions)

    def _caption_pixels(self, pixels: torch.Tensor, options: GenerateOptions) -> list[tuple[Caption, ...]]:
        stored = torch.float16 if self.spec.features.dtype == "float16" else torch.float32
        with torch.inference_mode():
            features = self.encoder.encode(pixels.to(self.device)).to(stored).float()  # (B, N, D)
        return caption_features(
            self.model, features, options, seed=f"{self.spec.seed} caption", precision=self.spec.train.precision
        )


def _device(name: str | None) -> torch.device:
    """The device of this name, or without one the GPU where there is one. Raises `RequestError` when it is not here."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as err:  # an unknown name, a build without it, none here
        raise RequestError(
            f'there is no device "{name}" here: {next(iter(str(err).splitlines()), type(err).__name__)}',
            where="--device",
            fix='Name another, such as "cpu" or "cuda:0", or none: then it is the GPU where there is one.',
        ) from err


def _open(source: ImageInput) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.convert("RGB")
    data = source if isinstance(source, bytes) else images.read_bytes(Path(source))
    return open_image(data, name="the image" if isinstance(source, bytes) else str(source))


def _check_widths(model: CaptioningModel, device: torch.device) -> None:
    """Sends one image's worth of zeros through the mapper: its widths are known only by what it takes and gives."""
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
            f"the mapper gives a prefix {given} for one image, where the decoder takes {wanted}.",
            fix="Build the mapper with embed_dim=decoder.embed_dim.",
        )


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The image files among `paths`, folders searched with everything below them, sorted within each folder."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in images.SUFFIXES and p.is_file())
        else:
            found.append(path)
    return found
