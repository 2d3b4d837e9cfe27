"""The parts of a CLIP model: architecture, weights and preprocessing."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from ....core.protocols import CapfwWarning

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "fill_color")


@dataclass(frozen=True)
class ClipSource:
    """The parts from which a CLIP model and its transform are built.

    `architecture`: fields of an open_clip model file (embed_dim, vision_cfg, quick_gelu; text_cfg where there is a text
    tower). `name`: its name in messages. `state`: the state dict of both towers in open_clip's names; None for random
    weights. `origin`: the name of the weights in messages. `preprocessing`: fields of open_clip's `PreprocessCfg`.
    `processor`: the image processor of a folder saved by transformers; where there is one, it makes the pixels.
    `unsettled`: the preprocessing fields that no source states, each with the reason.
    """

    architecture: Mapping[str, object]
    name: str
    state: dict[str, Tensor] | None = None
    origin: str = "random"
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    processor: BaseImageProcessor | None = None
    unsettled: Mapping[str, str] = field(default_factory=dict)

    def warn_of_unsettled(self, *, chosen: Collection[str] = (), section: str | None = None) -> None:
        """Warns (`CapfwWarning`) of preprocessing that is assumed to be OpenAI's and not set by the options `chosen`.

        `section`: the pointer of the component in the spec, where its options can set the preprocessing.
        """
        fields = [name for name in self.unsettled if name not in chosen]
        if not fields:
            return
        reasons = " ".join(dict.fromkeys(self.unsettled[name] for name in fields))
        options = ", ".join(f"{section}/{name}" for name in fields)
        fix = (
            f"Set {options} to the values that these weights were trained with."
            if section
            else "Name the tag of the weights, or a folder that states its preprocessing."
        )
        warnings.warn(f"{reasons} {fix}", CapfwWarning, stacklevel=2)


def only_preprocessing(facts: Mapping[str, object]) -> dict[str, object]:
    """Returns the preprocessing fields among `facts`, without the image size, which the tower determines."""
    return {key: facts[key] for key in PREPROCESSING if facts.get(key) is not None}
