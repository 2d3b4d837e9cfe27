"""Builds the parts of a spec. Each has its own seed, so that changing one part keeps the random weights of the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import nn

from ..errors import ComponentError, DataError, PluginError
from ..protocols import (
    CapfwWarning,
    Context,
    Dataset,
    Decoder,
    Encoder,
    Exporter,
    IncompatibleComponents,
    Logger,
    Mapper,
    Metric,
    Objective,
    Restorable,
    Sample,
)
from ..spec import Part, RunSpec
from .model import CaptioningModel
from .seeds import seeded
from .tuning import set_tuned

CONTEXT_FOLDER = "context"  # in a run's assets: the files that the context learned
PartT = TypeVar("PartT")


@contextmanager
def located(pointer: str) -> Iterator[None]:
    """Adds the part's place in the spec to the errors of a component."""
    try:
        yield
    except ComponentError as err:
        err.where = err.where or (f"{pointer}/{err.option}" if err.option else pointer)
        raise


@contextmanager
def collected_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """Passes each distinct warning of a component (`CapfwWarning`) to `tell`; other warnings are issued as usual."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CapfwWarning)
        yield
    own = [str(each.message) for each in caught if issubclass(each.category, CapfwWarning)]
    for each in caught:
        if not issubclass(each.category, CapfwWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    for text in dict.fromkeys(own):
        tell(text)


def _expect(part: Part, built: object, protocol: Callable[..., PartT]) -> PartT:
    # mypy refuses a protocol for a parameter of type `type[PartT]` (python/mypy#4717), so it is typed as a callable.
    assert isinstance(protocol, type)
    if not isinstance(built, protocol):
        raise PluginError(
            f'{part.kind} "{part.name}" ({part.component.target}) is not {protocol.__name__}: it lacks methods of the '
            "protocol.",
            fix=f"Run `capfw plugins check {part.kind}/{part.name}`.",
        )
    return cast("PartT", built)


def build_encoder(spec: RunSpec) -> Encoder:
    """The encoder in eval mode, frozen unless `/train/tune` names it."""
    with located("/encoder"), seeded(spec.seed, "encoder"):
        encoder = _expect(spec.encoder, spec.encoder.build(), Encoder)
    if spec.train.tune.encoder is None:
        return frozen(encoder)
    with located("/train/tune/encoder"):
        if not isinstance(encoder, nn.Module):
            raise ComponentError("this encoder cannot be tuned: it is not a torch module.", fix="Leave it frozen.")
        if not any(parameter.requires_grad for parameter in encoder.parameters()):
            raise ComponentError("this encoder has no parameters to train.", fix="Set it to null.")
    return encoder.train(False)


def frozen(encoder: Encoder) -> Encoder:
    """The same encoder in eval mode, without gradients."""
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    return encoder.train(False)


def build_dataset(spec: RunSpec) -> Dataset:
    """The data set. Building it reads the annotations."""
    if spec.data is None:
        raise DataError(
            "this spec has no data set.",
            where="/data",
            fix='Name one, as in --set /data=\'{"name": "coco", ...}\'; `capfw plugins` lists them.',
        )
    with located("/data"):
        return _expect(spec.data, spec.data.build(), Dataset)


def build_metrics(parts: Sequence[Part], section: str = "/metrics") -> list[Metric]:
    """The metrics, in the order of their sections."""
    metrics = []
    for index, part in enumerate(parts):
        with located(f"{section}/{index}"):
            metrics.append(_expect(part, part.build(), Metric))
    return metrics


def build_exporter(part: Part) -> Exporter:
    """The exporter."""
    return _expect(part, part.build(), Exporter)


def build_loggers(spec: RunSpec) -> list[Logger]:
    """The loggers, in the order of their sections. Building them reaches no service."""
    loggers = []
    for index, part in enumerate(spec.loggers):
        with located(f"/loggers/{index}"):
            loggers.append(_expect(part, part.build(), Logger))
    return loggers


def build_objective(spec: RunSpec, device: torch.device) -> Objective:
    """The objective on the device, with the metrics that its options name."""
    part = spec.train.objective
    metrics = build_metrics(part.metrics, "/train/objective/metrics")
    for metric in metrics:
        if isinstance(metric, nn.Module):
            metric.requires_grad_(False).to(device).eval()
    with located("/train/objective"), seeded(spec.seed, "objective"):
        objective = _expect(part, part.build(metrics=tuple(metrics)), Objective)
    return cast("Objective", cast("nn.Module", objective).to(device))


def build_context(spec: RunSpec, assets: Path) -> Context | None:
    """The context over its folder in `assets`; None where the spec has none."""
    if spec.context is None:
        return None
    folder = assets / CONTEXT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with located("/context"), seeded(spec.seed, "context"):
        return _expect(spec.context, spec.context.build(assets=folder), Context)


def prepare_assets(spec: RunSpec, samples: Sequence[Sample], assets: Path) -> None:
    """Lets the decoder write the files that it learns from the training captions, once per run directory."""
    assets.mkdir(parents=True, exist_ok=True)
    captions = (reference for sample in samples for reference in sample.references)
    with located("/decoder"), seeded(spec.seed, "assets"):
        decoder_class = cast("type[Decoder]", spec.decoder.component.load())
        decoder_class.prepare(spec.decoder.config, captions=captions, assets=assets)


def build_decoder(spec: RunSpec, assets: Path, *, is_restored: bool = False) -> Decoder:
    """The decoder. `is_restored`: the caller loads all its weights from a checkpoint, so none are read here."""
    with located("/decoder"), seeded(spec.seed, "decoder"):
        decoder_class = spec.decoder.component.load()
        if is_restored and issubclass(decoder_class, Restorable):
            return _expect(spec.decoder, decoder_class.restore(spec.decoder.config, assets=assets), Decoder)
        return _expect(spec.decoder, spec.decoder.build(assets=assets), Decoder)


def trains_whole_decoder(spec: RunSpec) -> bool:
    """Whether a checkpoint of this spec holds every weight that the decoder leaves trainable."""
    tuning = spec.train.tune.decoder
    return tuning is not None and tuning.only is None


def build_model(spec: RunSpec, encoder: Encoder, assets: Path, *, is_restored: bool = False) -> CaptioningModel:
    """Mapper and decoder for this encoder. Checks that they fit, and freezes every part that `/train/tune` does not name.

    `is_restored` as in `build_decoder`.
    """
    decoder = build_decoder(spec, assets, is_restored=is_restored)
    features = encoder.feature_shape
    with located("/mapper"), seeded(spec.seed, "mapper"):
        built = spec.mapper.build(features=features, embed_dim=decoder.embed_dim)
        mapper = _expect(spec.mapper, built, Mapper)
    check_positions(spec, mapper, decoder)
    tuned_encoder = None if spec.train.tune.encoder is None else encoder
    model = CaptioningModel(mapper, decoder, features, tuned_encoder=tuned_encoder)
    set_tuned(model, spec.train.tune)
    return model


def check_positions(spec: RunSpec, mapper: Mapper, decoder: Decoder, text_length: int = 0) -> None:
    """Raises `IncompatibleComponents` when prefix, text and the longest caption need more positions than there are."""
    num_tokens = max(spec.train.max_caption_tokens, spec.generate.max_tokens)
    longest = mapper.prefix_length + text_length + num_tokens
    if decoder.max_positions is None or longest <= decoder.max_positions:
        return
    text = f"texts of up to {text_length} tokens " if text_length else ""
    error = IncompatibleComponents(
        f"a prefix of {mapper.prefix_length}, {text}and captions of up to {num_tokens} tokens need {longest} positions, "
        f'but decoder "{spec.decoder.name}" has {decoder.max_positions}.',
        fix="Lower /mapper/prefix_length, /train/max_caption_tokens or /generate/max_tokens"
        + (", or make the texts of /context shorter." if text_length else "."),
    )
    error.where = "/decoder"
    raise error
