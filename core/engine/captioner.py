"""`Captioner`: a trained run as an object that captions images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Unpack, get_args, overload

import numpy as np
import torch
from torch import Tensor

from ..errors import CapfwError, CapfwWarning, RequestError, UnreadableSource
from ..protocols import (
    Batch,
    Context,
    ContextConfig,
    Decoder,
    Encoder,
    GenerateOptions,
    ImageId,
    IncompatibleComponents,
    Mapper,
    OptionChanges,
    Sample,
    changed_options,
    fetch_weights,
    narrowed,
)
from ..registry import Registry, code_of
from ..spec import RunSpec, load_spec
from .assembling import decoder_calls, fingerprints_of, load_model, loaded_best
from .build import build_context, build_encoder, check_positions
from .context import tokenized
from .devices import parse_device
from .generate import PURPOSE, ImageCaptions, caption_batch
from .inputs.given import ImageInput, several
from .inputs.reader import no_tokens
from .inputs.reading import InputReader, encode
from .inputs.rows import OneOrSeveral, Row, rows_of
from .model import CaptioningModel
from .observing.notebook import html_table
from .observing.progress import counted
from .run_directory import open_run
from .seeds import seed_of
from .tuning import HasParameters, ParameterCounts, count_parameters
from .weights import published_weights


@dataclass
class Captioner:
    """Encoder, mapper and decoder of a trained run, ready to caption. Several threads may caption at once.

    The fields are the parts themselves, for direct use; `with_parts` replaces them. Features are rounded to the stored
    dtype of the run (`spec.features.dtype`), so the captions equal those that `capfw evaluate` writes. Sampled captions
    are equal too if the image ids are given. `run_dir` is the run that was loaded; `replaced` names the parts that are not
    its own.
    """

    spec: RunSpec
    encoder: Encoder
    model: CaptioningModel
    device: torch.device
    context: Context | None = None
    run_dir: Path | None = None
    replaced: frozenset[str] = field(default=frozenset(), kw_only=True)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {part}" for name, part in self._named_parts())
        return f"Captioner({str(self.run_dir or '')!r}, {parts}, {self._parameters()}, on {self.device})"

    def _repr_html_(self) -> str:
        rows = [*self._named_parts(), ("parameters", self._parameters()), ("device", self.device)]
        return html_table(f"Captioner {self.run_dir or ''}".rstrip(), rows)

    def _parts(self) -> dict[str, HasParameters]:
        return {"encoder": self.encoder, "mapper": self.model.as_mapper, "decoder": self.model.as_decoder}

    def _named_parts(self) -> list[tuple[str, str]]:
        """The parts by their names in the spec; a replaced one by its class."""
        spec = self.spec
        names = {"encoder": spec.encoder.name, "mapper": spec.mapper.name, "decoder": spec.decoder.name}
        return [
            (kind, type(part).__name__ if kind in self.replaced else names[kind])
            for kind, part in self._parts().items()
        ]

    def _parameters(self) -> ParameterCounts:
        return count_parameters(self._parts())

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
        calls = decoder_calls(spec, directory.assets, is_restored=True)
        fetch_weights(published_weights(spec, decoder_calls=calls, work="caption"))
        encoder = build_encoder(spec)
        model = load_model(spec, encoder, directory.assets, is_restored=True)
        directory.check_frozen(*fingerprints_of(encoder, model))
        directory.report_changed_code(code_of(spec.components), _warn)
        loaded_best(model, directory.checkpoints)
        if isinstance(encoder, torch.nn.Module):
            encoder.to(where)
        context = build_context(spec, directory.assets)
        return cls(spec, encoder, model.to(where).eval(), where, context, directory.path)

    def with_parts(
        self, *, encoder: Encoder | None = None, mapper: Mapper | None = None, decoder: Decoder | None = None
    ) -> Captioner:
        """A new captioner with these parts in place of its own, on the same device and in eval mode.

        It keeps the feature mean and deviation of the run if the feature shape stays the same.
        Raises `IncompatibleComponents` when the parts do not fit each other.
        """
        is_tuned = self.model.encoder is not None and encoder is None
        given = {"encoder": encoder, "mapper": mapper, "decoder": decoder}
        replaced = self.replaced | {name for name, part in given.items() if part is not None}
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
        return Captioner(self.spec, encoder, model, self.device, self.context, self.run_dir, replaced=replaced)

    @overload
    def caption(  # type: ignore[overload-overlap]  # a string is an iterable of strings too
        self,
        images: ImageInput,
        options: GenerateOptions | None = None,
        *,
        ids: OneOrSeveral[ImageId] | None = None,
        texts: OneOrSeveral[str] | None = None,
        progress: bool | None = None,
        **changes: Unpack[OptionChanges],
    ) -> ImageCaptions: ...

    @overload
    def caption(
        self,
        images: Iterable[ImageInput],
        options: GenerateOptions | None = None,
        *,
        ids: Iterable[ImageId] | None = None,
        texts: Iterable[str] | None = None,
        progress: bool | None = None,
        **changes: Unpack[OptionChanges],
    ) -> list[ImageCaptions]: ...

    def caption(
        self,
        images: ImageInput | Iterable[ImageInput],
        options: GenerateOptions | None = None,
        *,
        ids: OneOrSeveral[ImageId] | None = None,
        texts: OneOrSeveral[str] | None = None,
        progress: bool | None = None,
        **changes: Unpack[OptionChanges],
    ) -> ImageCaptions | list[ImageCaptions]:
        """The captions of one image, best first (see `Generated`), or a list with those of each of several images.

        `options` default to those of the run's spec; keywords such as `num_beams=3` change them (see `changed_options`).
        Sampled captions depend on the run's seed and on the image: on its id in `ids` or in its `Sample`, or else on its
        bytes or pixels. The decoder reads `texts` before each caption, in place of the texts of the run's context.
        A terminal or a notebook shows the progress where there is more than one batch; `progress` True or False decides it.

        Raises `RequestError` for what is no image and for wrong options, and `UnreadableSource` for an image that cannot be
        read. For a large collection use `stream`, which continues after such an error.
        """
        given, is_single = several(images)
        chosen = self._options(options, changes)
        total = length_hint(given, 0) or None
        results: list[ImageCaptions] = []
        with counted("caption", total, "images", progress) as show:
            if progress or (total or 0) > chosen.batch_size:
                show(0)
            for _, captions in self._stream(rows_of(given, ids, texts, is_single=is_single), chosen):
                if isinstance(captions, CapfwError):
                    raise captions
                results.append(captions)
                if progress or (total or len(results)) > chosen.batch_size:
                    show(len(results))
        return results[0] if is_single else results

    def stream(
        self,
        images: ImageInput | Iterable[ImageInput],
        options: GenerateOptions | None = None,
        *,
        ids: OneOrSeveral[ImageId] | None = None,
        texts: OneOrSeveral[str] | None = None,
        **changes: Unpack[OptionChanges],
    ) -> Iterator[tuple[ImageInput, ImageCaptions | CapfwError]]:
        """Yields each image with its captions, in order and in batches, or with the error if it cannot be captioned.

        The arguments are those of `caption`. Raises `RequestError` for wrong options.
        """
        given, is_single = several(images)
        return self._stream(rows_of(given, ids, texts, is_single=is_single), self._options(options, changes))

    def _options(self, options: GenerateOptions | None, changes: OptionChanges) -> GenerateOptions:
        if options is not None and not isinstance(options, get_args(get_args(GenerateOptions)[0])):
            raise RequestError(
                f"{options!r:.80} is no object of options.",
                where="options",
                fix="Give options as keywords, num_beams=3, or as BeamOptions(num_beams=3) of capfw.core.protocols.",
            )
        return changed_options(options or self.spec.generate, changes)

    def _stream(
        self, rows: Iterator[tuple[ImageInput, Row | CapfwError]], options: GenerateOptions
    ) -> Iterator[tuple[ImageInput, ImageCaptions | CapfwError]]:
        while group := list(islice(rows, options.batch_size)):
            made = self._caption_rows([row for _, row in group if isinstance(row, Row)], options)
            for image, row in group:
                yield image, next(made) if isinstance(row, Row) else row

    def _caption_rows(
        self, rows: Sequence[Row], options: GenerateOptions
    ) -> Iterator[ImageCaptions | UnreadableSource]:
        read: list[Tensor | UnreadableSource] = []
        if rows:
            [read] = InputReader(self.encoder, self.device).read([[row.source for row in rows]])
        inputs = [item for item in read if isinstance(item, Tensor)]
        made: Iterator[ImageCaptions] = iter(())
        if inputs:
            readable = [row for row, item in zip(rows, read, strict=True) if isinstance(item, Tensor)]
            batch = self.batch(torch.stack(inputs).to(self.device), readable, is_sampled=options.is_sampled)
            made = iter(caption_batch(self.model, batch, options, precision=self.spec.train.precision))
        return (item if isinstance(item, UnreadableSource) else next(made) for item in read)

    def batch(self, inputs: Tensor, rows: Sequence[Row], *, is_sampled: bool) -> Batch:
        """The batch for the model: features rounded to the stored dtype, or inputs of a tuned encoder."""
        if self.model.encoder is None:
            stored = torch.float16 if self.spec.features.dtype == "float16" else torch.float32
            inputs = encode(self.encoder, inputs).to(stored).float()  # (B, N, D)
        named = [row.name(is_sampled=is_sampled) for row in rows]
        samples = [Sample(i, row.source, (), row.source.name) for i, row in zip(named, rows, strict=True)]
        texts = [row.text for row in rows if row.text is not None]  # of all rows, or of none
        if not texts and self.context is not None:
            part = self.spec.context
            reads = part is not None and narrowed(part.config, ContextConfig).reads_features()
            features = [row.cpu() if reads else None for row in inputs]
            pairs = zip(samples, features, strict=True)
            texts = [self.context.text(sample, row, excluding=sample.image_id) for sample, row in pairs]
        tokens = tokenized(self.model, texts).batch(np.arange(len(samples)), self.device) if texts else None
        return Batch(
            samples,
            inputs,
            no_tokens(len(samples), self.device),
            tokens,
            torch.tensor([seed_of(self.spec.seed, PURPOSE, i) for i in named], dtype=torch.int64),
        )


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
