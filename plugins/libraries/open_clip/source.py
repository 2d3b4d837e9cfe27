"""A CLIP model that was found: architecture, weights and preprocessing."""

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
    """What it takes to build a CLIP model and its transform.

    `architecture`: a model of open_clip, field by field (embed_dim, vision_cfg, quick_gelu; text_cfg where there is a
    text tower); `name` is what people call it. `state`: the state dict of both towers in open_clip's names, None for
    random weights; `origin` names it in messages. `preprocessing`: fields of open_clip's `PreprocessCfg`. `processor`:
    the image processor of a folder saved by transformers, which then makes the pixels. `unsettled`: what nothing states
    about the preprocessing, field by field, and why.
    """

    architecture: Mapping[str, object]
    name: str
    state: dict[str, Tensor] | None = None
    origin: str = "random"
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    processor: BaseImageProcessor | None = None
    unsettled: Mapping[str, str] = field(default_factory=dict)

    def warn_of_unsettled(self, *, chosen: Collection[str] = (), section: str | None = None) -> None:
        """Warns of preprocessing that is only assumed (OpenAI's), unless the options `chosen` settle it.

        `section`: the pointer of the component in a spec, where its options can settle it.
        """
        fields = [name for name in self.unsettled if name not in chosen]
        if not fields:
            return
        reasons = " ".join(dict.fromkeys(self.unsettled[name] for name in fields))
        options = ", ".join(f"{section}/{name}" for name in fields)
        fix = (
            f"Set {options} to what these weights were trained with."
            if section
            else "Name the tag of the weights, or a folder that states its preprocessing."
        )
        warnings.warn(f"{reasons} {fix}", CapfwWarning, stacklevel=2)


def only_preprocessing(facts: Mapping[str, object]) -> dict[str, object]:
    """Those of `facts` that say how images are prepared; the size is the tower's."""
    return {key: facts[key] for key in PREPROCESSING if facts.get(key) is not None}
