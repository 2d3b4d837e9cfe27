"""Builds what a spec names. Each part is seeded on its own, so that changing one leaves the others' random weights."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import torch

from ..errors import ComponentError, DataError, PluginError
from ..protocols import (
    CapfwWarning,
    Dataset,
    Decoder,
    Encoder,
    FeatureShape,
    IncompatibleComponents,
    Mapper,
    Metric,
    Restorable,
    Sample,
)
from ..spec import Part, RunSpec
from .model import CaptioningModel

_SPLITS = ("train", "val", "test")
PartT = TypeVar("PartT")


@contextmanager
def _at(pointer: str) -> Iterator[None]:
    """Adds the part's place in the spec to what a component complains of."""
    try:
        yield
    except ComponentError as err:
        err.where = err.where or (f"{pointer}/{err.option}" if err.option else pointer)
        raise


@contextmanager
def seeded(seed: int, what: str) -> Iterator[None]:
    """Random numbers of torch start from `seed` and `what` inside, and are as they were after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {what}".encode()).digest()[:7], "big"))
        yield


def _expect(part: Part, built: object, protocol: Callable[..., PartT]) -> PartT:
    # mypy refuses a protocol where `type[PartT]` is wanted (python/mypy#4717); a callable says as much here.
    assert isinstance(protocol, type)
    if not isinstance(built, protocol):
        raise PluginError(
            f'{part.kind} "{part.name}" ({part.component.target}) is not {protocol.__name__}: it lacks methods of the '
            "protocol.",
            fix="Run the conformance checks of capfw.core.conformance on it.",
        )
    return cast("PartT", built)


def build_encoder(spec: RunSpec) -> Encoder:
    """The encoder, frozen and in eval mode."""
    with _at("/encoder"), seeded(spec.seed, "encoder"):
        encoder = _expect(spec.encoder, spec.encoder.build(), Encoder)
    return frozen(encoder)


def frozen(encoder: Encoder) -> Encoder:
    """The same encoder in eval mode, without gradients."""
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    return encoder.train(False)


def build_dataset(spec: RunSpec) -> tuple[Dataset, list[str]]:
    """The data set, whose annotations are read here, and what it warned of."""
    if spec.data is None:
        raise DataError(
            "this spec has no data set.",
            where="/data",
            fix='Name one, as in --set /data=\'{"name": "coco", ...}\'; `capfw plugins` lists them.',
        )
    with _at("/data"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CapfwWarning)
        dataset = _expect(spec.data, spec.data.build(), Dataset)
    return dataset, [str(warning.message) for warning in caught if issubclass(warning.category, CapfwWarning)]


def build_metrics(parts: Sequence[Part]) -> list[Metric]:
    """The metrics, in the order of the spec."""
    metrics = []
    for index, part in enumerate(parts):
        with _at(f"/metrics/{index}"):
            metrics.append(_expect(part, part.build(), Metric))
    return metrics


def prepare_assets(spec: RunSpec, samples: Sequence[Sample], assets: Path) -> None:
    """Lets the decoder write what it learns from the training captions; done once per run directory."""
    assets.mkdir(parents=True, exist_ok=True)
    captions = (reference for sample in samples for reference in sample.references)
    with _at("/decoder"), seeded(spec.seed, "assets"):
        decoder_class = cast("type[Decoder]", spec.decoder.component.load())
        decoder_class.prepare(spec.decoder.config, captions=captions, assets=assets)


def build_decoder(spec: RunSpec, assets: Path, *, is_restored: bool = False) -> Decoder:
    """The decoder. `is_restored`: a checkpoint follows, so weights that it holds need not be read."""
    with _at("/decoder"), seeded(spec.seed, "decoder"):
        decoder_class = spec.decoder.component.load()
        if is_restored and issubclass(decoder_class, Restorable):
            return _expect(spec.decoder, decoder_class.restore(spec.decoder.config, assets=assets), Decoder)
        return _expect(spec.decoder, spec.decoder.build(assets=assets), Decoder)


def build_model(spec: RunSpec, features: FeatureShape, assets: Path, *, is_restored: bool = False) -> CaptioningModel:
    """Mapper and decoder for features of this shape, checked to fit each other; `is_restored` as in `build_decoder`."""
    decoder = build_decoder(spec, assets, is_restored=is_restored)
    with _at("/mapper"), seeded(spec.seed, "mapper"):
        built = spec.mapper.build(features=features, embed_dim=decoder.embed_dim)
        mapper = _expect(spec.mapper, built, Mapper)
    check_positions(spec, mapper, decoder)
    return CaptioningModel(mapper, decoder, features)


def check_positions(spec: RunSpec, mapper: Mapper, decoder: Decoder) -> None:
    """Raises `IncompatibleComponents` when the prefix and the longest caption do not fit into the decoder."""
    longest = mapper.prefix_length + max(spec.train.max_caption_tokens, spec.generate.max_tokens)
    if decoder.max_positions is not None and longest > decoder.max_positions:
        error = IncompatibleComponents(
            f"a prefix of {mapper.prefix_length} and captions of up to "
            f"{max(spec.train.max_caption_tokens, spec.generate.max_tokens)} tokens need {longest} positions, but decoder "
            f'"{spec.decoder.name}" has {decoder.max_positions}.',
            fix="Lower /mapper/prefix_length, /train/max_caption_tokens or /generate/max_tokens.",
        )
        error.where = "/decoder"
        raise error


def splits_of(dataset: Dataset) -> dict[str, Sequence[Sample]]:
    """The samples of each split the data set has, in the order train, val, test."""
    return {split: dataset.samples(split) for split in _SPLITS if split in dataset.splits}
