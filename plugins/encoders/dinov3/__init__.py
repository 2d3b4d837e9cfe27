"""DINOv3 image encoders with the dino.txt vision head, in timm, from Meta's files as downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from ....core.protocols import Component, EncoderConfig, FeatureKind, Weights, hookimpl

BACKBONE_FILE = "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"
HEAD_FILE = "dinov3_vitl16_dinotxt_vision_head_and_text_encoder-a442d8f5.pth"
HOW_TO_GET = f"""Meta gives these files on request: https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/
  {BACKBONE_FILE}  (the backbone, ViT-L/16)
  {HEAD_FILE}  (the dino.txt head)
Put both into torch.hub's folder (~/.cache/torch/hub/checkpoints), or into any folder and set "weights" to the first."""


class DinoV3Config(EncoderConfig):
    """Options of encoder "dinov3"."""

    model: str = Field(
        "vit_large_patch16_dinov3",
        description='timm name of a DINOv3 Vision Transformer ("vit_small_patch16_dinov3", ...). The dino.txt head is '
        "published for ViT-L/16 only.",
    )
    model_args: dict[str, JsonValue] = Field(
        default_factory=dict, description='Sizes for timm.create_model, e.g. {"embed_dim": 64, "depth": 2}.'
    )
    weights: Weights = Field(
        "published",
        description="Weights of the backbone: Meta's file as downloaded; \"published\", which is that file in torch.hub's "
        'folder for ViT-L/16 and timm\'s copy for other sizes; or "random".',
    )
    head_weights: Weights | None = Field(
        None,
        description='Weights of the dino.txt head, for pooling "dinotxt": Meta\'s file as downloaded; "published", which '
        "is that file beside the backbone's or in torch.hub's folder; or \"random\". The text tower in it is not read. "
        'Absent: "random" on a random backbone, else "published".',
    )
    features: FeatureKind = Field("pooled", description="One embedding per image, or the backbone's patch tokens.")
    pooling: Literal["dinotxt", "cls"] = Field(
        "dinotxt",
        description='For pooled features: "dinotxt" is the dino.txt image embedding (the head\'s [CLS] and the mean of its '
        'patch tokens, together 2048 wide for ViT-L/16), "cls" is the backbone\'s [CLS].',
    )
    include_registers: bool = Field(False, description="For tokens: put the register tokens before the patch tokens.")
    normalize: bool | None = Field(
        None,
        description="Divide each emitted vector by its L2 norm. Absent: true for dino.txt embeddings, false for others.",
    )
    image_size: int = Field(224, ge=1, description="Side of the square crop, in pixels; a multiple of the patch size.")
    resize: int | None = Field(
        None, ge=1, description="Length of the shorter side before the crop, in pixels. Absent: image_size * 256 / 224."
    )

    def emitted_features(self) -> FeatureKind:
        """The value of `features`."""
        return self.features

    @property
    def uses_head(self) -> bool:
        """Whether the dino.txt head is needed."""
        return self.features == "pooled" and self.pooling == "dinotxt"

    @property
    def head_source(self) -> str:
        """`head_weights`, with the default filled in where it is absent."""
        return self.head_weights or ("random" if self.weights == "random" else "published")

    @field_validator("weights", "head_weights", mode="wrap")
    @classmethod
    def _add_how_to_get_a_missing_file(cls, value: Any, validate: Callable[[Any], str]) -> str:
        try:
            return validate(value)
        except ValidationError as err:
            if err.errors()[0]["type"] != "missing_file":
                raise
            raise ValueError(f"{err.errors()[0]['msg']}.\n{HOW_TO_GET}") from err

    @model_validator(mode="after")
    def _no_option_without_effect(self) -> Self:
        if self.features == "tokens" and self.pooling != "dinotxt":
            raise ValueError('"pooling" has no effect on features "tokens"; remove it, or set features to "pooled"')
        if self.features == "pooled" and self.include_registers:
            raise ValueError('"include_registers" has no effect on features "pooled"; remove it')
        # "published" was once the default and is in resolved specs of that time.
        if not self.uses_head and self.head_weights not in (None, "published"):
            raise ValueError('"head_weights" has no effect here: only pooling "dinotxt" uses the head; remove it')
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError(f"resize {self.resize} is smaller than image_size {self.image_size}")
        return self


TINY: dict[str, JsonValue] = {"embed_dim": 32, "depth": 1, "num_heads": 2}


@hookimpl
def register_encoders() -> list[Component]:
    """Registers "dinov3"."""
    return [
        Component(
            name="dinov3",
            config=DinoV3Config,
            target=f"{__name__}.model:DinoV3Encoder",
            summary="DINOv3 with the dino.txt head; image embedding, [CLS] or patch tokens.",
            example=DinoV3Config(model_args=TINY, weights="random", image_size=32),
            needs="Meta's files, which it gives on request",
            source='Siméoni et al., 2025, "DINOv3", arXiv 2508.10104; Jose et al., 2024, "DINOv2 Meets Text", '
            "arXiv 2412.16334",
        )
    ]
