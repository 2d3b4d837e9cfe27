"""Both towers of a CLIP model saved into a folder, by transformers' `CLIPModel` or in open_clip's form on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, CLIPModel

from ....core.protocols import BadCheckpoint, ComponentError
from .towers import Towers


def load_folder(folder: Path) -> Towers:
    """The towers in `folder`. Raises `BadCheckpoint` when it is damaged, `ComponentError` when it is of neither form."""
    try:
        if (folder / "open_clip_config.json").is_file():
            model = open_clip.create_model(f"local-dir:{folder}")
            settings = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
            return Towers(
                model, open_clip.transform.image_transform_v2(settings, is_train=False), settings, "open_clip"
            )
        if (folder / "config.json").is_file():
            return _from_transformers(folder)
    except ComponentError:
        raise
    except Exception as err:  # both libraries raise almost anything on damaged files
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise BadCheckpoint(f"{folder} cannot be loaded: {reason}", option="weights") from err
    raise ComponentError(f"{folder} has neither open_clip_config.json nor config.json.", option="weights")


def _from_transformers(folder: Path) -> Towers:
    kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    if kind != "clip":
        raise BadCheckpoint(f'{folder} holds a "{kind}" model, not "clip".', option="weights")
    model, report = CLIPModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, weights_only=True)
    if missing := sorted(report["missing_keys"]):
        raise BadCheckpoint(
            f"{folder} lacks {len(missing)} weights of a CLIPModel: {', '.join(missing[:3])}.", option="weights"
        )
    processor = AutoImageProcessor.from_pretrained(folder, backend="torchvision")
    return Towers(
        _TransformersTowers(model),
        lambda image: processor(image, return_tensors="pt")["pixel_values"][0],
        sorted(map(repr, processor.to_dict().items())),
        "CLIPModel",
    )


class _TransformersTowers(nn.Module):
    """A `CLIPModel` with open_clip's methods."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model
        self.context_length: int = model.config.text_config.max_position_embeddings

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) -> embeddings (B, D)."""
        embedded: Tensor = self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)
        return embedded

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids (B, context length), padded with zeros after the end -> embeddings (B, D)."""
        embedded: Tensor = self.model.text_projection(self.model.text_model(input_ids=ids).pooler_output)
        return embedded
