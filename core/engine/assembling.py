"""Assembles a run's model: the parts of the spec, the weights of an earlier run, and the checkpoint's weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from ..errors import RequestError, RunError, listed
from ..protocols import Call, Encoder, Sample, fetch_weights
from ..spec import RunSpec
from .atomic import write_tensors
from .build import (
    CONTEXT_FOLDER,
    build_encoder,
    build_model,
    collected_warnings,
    prepare_assets,
    trains_whole_decoder,
)
from .checkpoint import Checkpoints
from .model import CaptioningModel, read_state
from .opening import Run
from .run_directory import RunDirectory, open_run
from .tuning import PARTS
from .weights import FRESH, Work, published_weights

START_FILE = "start.safetensors"  # in the assets: the weights of the run in /train/from, with which this run began
_PREPARED = "prepared"


def assemble(run: Run, splits: Mapping[str, Sequence[Sample]]) -> tuple[Encoder, CaptioningModel]:
    """Builds encoder and model on the device, before any image is encoded, so that a mismatch shows early.

    The first call of a run writes its assets. Raises `ComponentError` for parts that cannot be built or do not fit.
    """
    assets = run.directory.assets
    with collected_warnings(run.observers.warn):
        encoder = build_encoder(run.spec)
        if run.is_main and not (assets / _PREPARED).is_file():
            _prepare(run, splits.get("train", ()), encoder)
        run.wait()
        model = load_model(run.spec, encoder, assets, is_restored=_has_checkpoint(run))
    if isinstance(encoder, nn.Module):
        encoder.to(run.device)
    return encoder, model.to(run.device)


def fetch_parts(run: Run, work: Work) -> None:
    """Fetches the published weights that building the parts for `work` reads, and that are not on this machine.

    Raises `MissingWeights`, which names all of them, before any part is built.
    """
    if run.accelerator.is_local_main_process:
        assets = run.directory.assets
        calls = decoder_calls(run.spec, assets, is_restored=_has_checkpoint(run))
        fetch_weights(published_weights(run.spec, decoder_calls=calls, work=work), tell=run.observers.inform)
    run.wait()


def decoder_calls(spec: RunSpec, assets: Path, *, is_restored: bool) -> frozenset[Call]:
    """The calls that will build the decoder over `assets`. `is_restored`: the caller loads a checkpoint next."""
    if (assets / _PREPARED).is_file():
        return frozenset({"restore" if _needs_no_weights(spec, assets / START_FILE, is_restored) else "build"})
    source = spec.train.from_
    if source is not None:
        _trained(source)
        old = json.loads((source / "spec.json").read_text(encoding="utf-8"))
        if old.get("decoder") == spec.to_json()["decoder"]:
            return frozenset({"restore" if _hands_over_whole_decoder(source, old) else "build"})
    return FRESH


def _needs_no_weights(spec: RunSpec, start: Path, is_restored: bool) -> bool:
    """Whether a checkpoint, or the run in `/train/from`, supplies every weight of the decoder that training can change."""
    return (is_restored and trains_whole_decoder(spec)) or (start.is_file() and _holds_whole_decoder(start))


def _has_checkpoint(run: Run) -> bool:
    """Whether the caller will load a checkpoint: the last one to continue, or the best one of a trained run."""
    return run.directory.checkpoints.last() is not None or bool(run.directory.environment.get("is_trained"))


def _prepare(run: Run, samples: Sequence[Sample], encoder: Encoder) -> None:
    assets, source = run.directory.assets, run.spec.train.from_
    if source is None:
        prepare_assets(run.spec, samples, assets)
    else:
        for notice in take_over(run.spec, source, assets, samples, encoder):
            run.observers.inform(notice)
    mark_prepared(assets)


def mark_prepared(assets: Path) -> None:
    """Marks the assets of a run as complete."""
    (assets / _PREPARED).touch()


def load_model(spec: RunSpec, encoder: Encoder, assets: Path, *, is_restored: bool) -> CaptioningModel:
    """The initial model: the parts of the spec, with the weights of the run in `/train/from` if there is one.

    `is_restored`: the caller loads a checkpoint next. Published weights are then read only for the parts that the
    checkpoint lacks.
    """
    start = assets / START_FILE
    model = build_model(spec, encoder, assets, is_restored=_needs_no_weights(spec, start, is_restored))
    if start.is_file():
        state = read_state(start)
        model.load_state_dict(state, strict=False)
        if isinstance(encoder, nn.Module):  # the earlier run may have tuned an encoder that this run freezes
            own = {name.removeprefix("encoder."): v for name, v in state.items() if name.startswith("encoder.")}
            encoder.load_state_dict(own, strict=False)
    return model


def _holds_whole_decoder(start: Path) -> bool:
    with safe_open(start, framework="pt") as opened:
        return (opened.metadata() or {}).get("whole_decoder") == "true"


def take_over(spec: RunSpec, source: Path, assets: Path, samples: Sequence[Sample], encoder: Encoder) -> list[str]:
    """Copies weights and assets of the run in `source` into `assets`, for the parts that both specs share.

    Returns notices of the parts that were copied and of those that were not. Raises `RunError` when `source` is not a
    trained run, or when the specs share no part.
    """
    directory = _trained(source)
    checkpoints, best = directory.checkpoints, directory.best_checkpoint()
    old = json.loads((source / "spec.json").read_text(encoding="utf-8"))
    new = spec.to_json()
    kept, anew = _compared(old, new, is_same_encoder=directory.encoder_fingerprint in (None, encoder.fingerprint()))
    if not kept:
        what = f"this run shares no part with {source}: {listed(anew, 3, between='; ')}."
        raise RunError(what, where="/train/from", fix="Use its /mapper or /decoder, or leave /train/from out.")
    assets.mkdir(parents=True, exist_ok=True)
    if "decoder" in kept:
        # The context of the other run knows that run's training images; this run fits its own.
        unwanted = shutil.ignore_patterns(_PREPARED, START_FILE, CONTEXT_FOLDER)
        shutil.copytree(source / "assets", assets, dirs_exist_ok=True, ignore=unwanted)
    else:
        prepare_assets(spec, samples, assets)
    state = {**_start_of(source), **read_state(checkpoints.weights(best.step))}
    taken = {name: value for name, value in state.items() if name.startswith(tuple(f"{part}." for part in kept))}
    # Mean and deviation belong to the features of this encoder, for a mapper that reads them standardised.
    if "encoder" in kept and ("mapper" in kept or spec.features.standardize):
        taken |= {name: value for name, value in state.items() if name.startswith("feature_")}
    is_whole = "decoder" in kept and _hands_over_whole_decoder(source, old)
    write_tensors(assets / START_FILE, taken, {"whole_decoder": "true" if is_whole else "false"})
    notices = [f"starting from {', '.join(kept)} of {source} (step {best.step})"]
    return notices + [f"not copied: {reason}" for reason in anew]


def _trained(source: Path) -> RunDirectory:
    try:
        return open_run(source)
    except RequestError as err:
        err.where = f"/train/from ({source})"
        raise


def _compared(
    old: Mapping[str, object], new: Mapping[str, object], *, is_same_encoder: bool
) -> tuple[list[str], list[str]]:
    """The parts that are equal in both runs, and a reason for each other part."""
    kept, anew = [], []
    for part in PARTS:
        before, now = old.get(part), new[part]
        if before == now and part == "encoder" and not is_same_encoder:
            anew.append("the encoder, whose weights differ")
            continue
        if before == now:
            kept.append(part)
            continue
        assert isinstance(now, dict)
        was = before if isinstance(before, dict) else {}
        keys = [key for key in {**now, **was} if was.get(key) != now.get(key)]
        anew.append(f"the {part}, which differs at {listed([f'/{part}/{key}' for key in keys], 3)}")
    # A mapper reads the features of one encoder and writes the vectors of one decoder.
    if "mapper" in kept and ("encoder" not in kept or "decoder" not in kept):
        kept.remove("mapper")
        anew.append("the mapper, because the encoder or decoder beside it differs")
    return kept if {"mapper", "decoder"} & set(kept) else [], anew


def _start_of(source: Path) -> dict[str, Tensor]:
    """The weights with which the other run began: its checkpoint holds only what it trained."""
    start = source / "assets" / START_FILE
    return read_state(start) if start.is_file() else {}


def _hands_over_whole_decoder(source: Path, old: Mapping[str, Any]) -> bool:
    """Whether the run in `source`, whose spec is `old`, holds every weight of the decoder that training can change."""
    tuned = old.get("train", {}).get("tune", {}).get("decoder")
    start = source / "assets" / START_FILE
    return (tuned is not None and tuned.get("only") is None) or (start.is_file() and _holds_whole_decoder(start))


def fingerprints_of(encoder: Encoder, model: CaptioningModel) -> tuple[str | None, str]:
    """Hashes of the encoder and of the model's frozen weights. A tuned encoder has none: the checkpoint holds it."""
    return None if model.encoder is not None else encoder.fingerprint(), model.frozen_fingerprint()


def loaded_best(model: CaptioningModel, checkpoints: Checkpoints) -> int:
    """Loads the best checkpoint into the model; returns its step."""
    best = checkpoints.best()
    assert best is not None, "training marks a checkpoint as best"
    model.load_saved_state(checkpoints.weights(best.step))
    return best.step
