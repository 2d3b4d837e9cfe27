"""The heavy half of encoder "timm"."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import timm
import timm.data
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.protocols import (
    BadCheckpoint,
    ComponentError,
    FeatureShape,
    PublishedWeights,
    load_exactly,
    read_weights,
    suggestion,
    weights_fingerprint,
)
from ...libraries.memory_format import in_fastest_layout
from ...libraries.timm import from_file, published_timm, unbuildable
from . import TimmConfig
from .tokens import TokenLayout, read_layout
from .transform import evaluation_transform


class TimmEncoder(nn.Module):
    """Encodes RGB images with any model of timm.

    Pooled (B, 1, D): the input of timm's classifier. Tokens (B, N, D), row by row: a Transformer's patch tokens after its
    last norm, without register and distillation tokens (`include_cls` puts [CLS] first); or a CNN's last grid. Float32,
    in eval mode.
    """

    def __init__(self, config: TimmConfig) -> None:
        """Raises `MissingWeights`, `BadCheckpoint`, or `ComponentError` for a model, argument or tokens unknown to timm."""
        super().__init__()
        self.config = config
        self.net = in_fastest_layout(_create(config).float())
        self.eval()
        self.data_config = _data_config(config, self.net)
        self.transform = evaluation_transform(self.data_config)
        blank = torch.zeros(1, *self.data_config["input_size"])
        with torch.no_grad():
            hidden = self.net.forward_features(blank)
            self._layout = self._read_layout(hidden, blank) if config.features == "tokens" else None
            try:
                features = self._emit(hidden)
            except (NotImplementedError, TypeError) as err:
                raise ComponentError(
                    f"{config.model} has no pooled embedding: {err}",
                    option="features",
                    fix='Set "features" to "tokens".',
                ) from err
        self.feature_shape = FeatureShape(
            num_tokens=features.shape[1],
            dim=features.shape[2],
            grid=self._layout.grid if self._layout else None,
            num_extra_tokens=1 if config.include_cls else 0,
        )

    @classmethod
    def published_weights(cls, config: TimmConfig) -> Sequence[PublishedWeights]:
        _check_name(config)
        return (published_timm(config.model),) if config.weights == "pretrained" else ()

    def encode(self, pixels: Tensor) -> Tensor:
        # In eval mode LeViT, TinyViT and others cache lookups in their position biases. A cached tensor is stale after an
        # optimizer step, and carries the gradients or the inference mode of an earlier call.
        for module in self.net.modules():
            if getattr(module, "attention_bias_cache", None):
                module.attention_bias_cache = {}
        return self._emit(self.net.forward_features(pixels))

    def fingerprint(self) -> str:
        options = self.config.model_dump(include={"model", "model_args", "features", "include_cls", "normalize"})
        return weights_fingerprint(self.net, sorted(options.items()), sorted(self.data_config.items()))

    def _read_layout(self, hidden: object, pixels: Tensor) -> TokenLayout:
        layout = read_layout(self.net, hidden, pixels, model=self.config.model)
        if self.config.include_cls and not layout.has_cls:
            raise ComponentError(f"{self.config.model} has no [CLS] token.", option="include_cls", fix="Remove it.")
        return layout

    def _emit(self, hidden: Tensor) -> Tensor:
        """Turns the output of `forward_features` into features (B, N, D) float32."""
        if self._layout is None:
            features = self.net.forward_head(hidden, pre_logits=True).flatten(1)[:, None]  # (B, 1, D)
        else:
            features = self._layout.patches(hidden)  # (B, N, D)
            if self.config.include_cls:
                features = torch.cat([hidden[:, :1], features], dim=1)  # (B, 1 + N, D)
        features = features.float()
        return F.normalize(features, dim=-1) if self.config.normalize else features


def _create(config: TimmConfig) -> nn.Module:
    _check_name(config)
    published = timm.get_pretrained_cfg(config.model)
    # Only models with a position table of fixed size need the size; the others accept any.
    resized = {"img_size": config.image_size} if config.image_size and published and published.fixed_input_size else {}
    weights = published_timm(config.model) if config.weights == "pretrained" else None
    source = from_file(weights) if weights else {}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # timm prints while it converts some checkpoints
            net: nn.Module = timm.create_model(config.model, num_classes=0, **config.model_args, **resized, **source)
    except SafetensorError as err:
        assert weights is not None
        raise BadCheckpoint(
            f"the cached weights of {config.model} are damaged: {err}",
            option="weights",
            fix=f"Download them again: {weights.how_to_get()}",
        ) from err
    except (TypeError, ValueError, AssertionError, OSError, RuntimeError) as err:
        raise unbuildable(config.model, err) from err
    if config.weights not in ("pretrained", "random"):
        _load(net, config, resized)
    return net


def _check_name(config: TimmConfig) -> None:
    name, _, tag = config.model.partition(".")
    if not timm.is_model(name):
        raise ComponentError(
            f'timm has no model "{name}". {suggestion(name, timm.list_models())}'.rstrip(),
            option="model",
            fix="`python -c 'import timm; print(timm.list_models())'` lists them.",
        )
    published = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
    if (tag and tag not in published) or (config.weights == "pretrained" and not published):
        raise ComponentError(
            f'timm publishes no weights "{tag}" of {name}.' if tag else f"timm publishes no weights of {name}.",
            option="model" if tag else "weights",
            fix=f'Published: {", ".join(published) or "none"}. Or set "weights" to a local file or "random".',
        )


def _load(net: nn.Module, config: TimmConfig, resized: Mapping[str, int]) -> None:
    file, own = Path(config.weights), net.state_dict()
    with torch.device("meta"):  # the classifier is the difference between this model and `net`
        with_classifier = timm.create_model(config.model, num_classes=1, **config.model_args, **resized)
    classifier = with_classifier.state_dict().keys() - own.keys()

    def without_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in state.items() if name not in classifier}

    state = without_classifier(read_weights(file))
    if resized or state.keys() != own.keys():
        state = without_classifier(_convert(net, state, is_resized=bool(resized)))
    load_exactly(net, state, source=file)


def _convert(net: nn.Module, state: dict[str, Tensor], *, is_resized: bool) -> dict[str, Tensor]:
    """Renames the weights with timm's converter for this family of models.

    The converters also resample positions and patches to the model's sizes. That is right for the positions at another
    image size; everywhere else it hides a wrong file, so the original stays and strict loading refuses it.
    """
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        with contextlib.redirect_stdout(sys.stderr):
            converted: dict[str, Tensor] = convert(dict(state), net)
    except Exception:  # a file of another family: strict loading reports the differences
        return state
    for name, value in state.items():
        is_changed = name in converted and converted[name].shape != value.shape
        if is_changed and (not is_resized or "patch_embed" in name):
            converted[name] = value
    return converted


def _data_config(config: TimmConfig, net: nn.Module) -> dict[str, object]:
    """Returns timm's data config of the model with the user's options in it."""
    side = config.image_size
    changes = {
        "input_size": (3, side, side) if side else None,
        "interpolation": config.interpolation,
        "mean": config.mean,
        "std": config.std,
        "crop_mode": "center" if config.resize_mode == "crop" else config.resize_mode,
        "crop_pct": 1.0 if config.resize_mode == "squash" else config.crop_fraction,
    }
    own: dict[str, object] = timm.data.resolve_model_data_config(net)
    return own | {key: value for key, value in changes.items() if value is not None}
