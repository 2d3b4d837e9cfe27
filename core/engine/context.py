"""Text between prefix and caption: fits the context to the training images, then asks it for the text of each image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from ..errors import PluginError
from ..protocols import Context, ContextConfig, narrowed
from .build import CONTEXT_FOLDER, build_context, check_positions
from .inputs.captions import TokenRows
from .inputs.reader import Inputs
from .model import CaptioningModel
from .opening import Run

_FITTED = "fitted"


def fit_context(run: Run, model: CaptioningModel, inputs: Mapping[str, Inputs]) -> dict[str, TokenRows]:
    """The text of every image as tokens, by split; empty where the spec has no context.

    The first call of a run fits the context. Raises `IncompatibleComponents` when a text leaves no room for a caption.
    """
    if run.spec.context is None:
        return {}
    if run.is_main:
        _fit(run, inputs)
    run.wait()
    context = build_context(run.spec, run.directory.assets)
    assert context is not None
    texts = {split: _texts(run, context, model, each, f"context {split}") for split, each in inputs.items()}
    longest = max(int(rows.lengths.max(initial=0)) for rows in texts.values())
    check_positions(run.spec, model.as_mapper, model.as_decoder, longest)
    return texts


def _fit(run: Run, inputs: Mapping[str, Inputs]) -> None:
    folder = run.directory.assets / CONTEXT_FOLDER
    if (folder / _FITTED).is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)  # what a fit that was interrupted left
    context = build_context(run.spec, run.directory.assets)
    assert context is not None
    context.fit(inputs["train"].samples, _features(run, inputs["train"]))
    (folder / _FITTED).touch()


def _texts(run: Run, context: Context, model: CaptioningModel, inputs: Inputs, stage: str) -> TokenRows:
    features, progress = _features(run, inputs), run.progress(stage, "images")
    texts = []
    for place, sample in enumerate(inputs.samples):
        of_sample = None if features is None else features(place)
        text = context.text(sample, of_sample, excluding=sample.image_id)
        if not isinstance(text, str):
            what = f"the context returned a {type(text).__name__} for image {sample.image_id}, not a string."
            raise PluginError(what, where="/context", fix='Correct the context: it returns "" where there is no text.')
        texts.append(text)
        progress(place + 1, len(inputs.samples))
    return tokenized(model, texts)


def tokenized(model: CaptioningModel, texts: Sequence[str]) -> TokenRows:
    """The texts as tokens without EOS, as the decoder reads them before a caption."""
    return TokenRows(model.as_decoder.tokenize(list(texts), end=False))


def _features(run: Run, inputs: Inputs) -> Callable[[int], Tensor] | None:
    """A function that returns the features (N, D) of image i on the CPU; None if the context does not read features."""
    context = run.spec.context
    if context is None or not narrowed(context.config, ContextConfig).reads_features():
        return None
    return lambda place: next(inputs.gather([[place]]))[0].cpu()
