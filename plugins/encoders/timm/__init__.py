"""Image encoders of timm: any of its models, with one embedding per image or with tokens."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from ....core.protocols import Component, EncoderConfig, FeatureKind, Weights, hookimpl

_OWN_OPTIONS = {  # arguments of timm.create_model that this encoder sets, and the option that decides each
    "pretrained": "weights",
    "checkpoint_path": "weights",
    "num_classes": "features",
    "img_size": "image_size",
}


class TimmConfig(EncoderConfig):
    """Options of encoder "timm". The model's own data config supplies absent preprocessing options."""

    model: str = Field(description='timm model name, with or without a tag: "vit_base_patch16_224.augreg_in21k".')
    weights: Weights = Field(
        "pretrained",
        description='"pretrained" (published under the name and tag), a local file (.safetensors, .pth, ...), or '
        '"random". A classifier in the file is not read.',
    )
    model_args: dict[str, JsonValue] = Field(
        default_factory=dict, description='Arguments for timm.create_model, e.g. {"pad_type": "same"}.'
    )
    features: FeatureKind = Field(
        "pooled",
        description="One embedding per image, or tokens: the patch tokens of a Transformer, the last grid of a CNN.",
    )
    include_cls: bool | None = Field(
        None, description="For tokens of a Transformer: put [CLS] before the patch tokens. Absent: false."
    )
    normalize: bool = Field(False, description="Divide each emitted vector by its L2 norm.")
    image_size: int | None = Field(None, ge=1, description="Side of the square input, in pixels.")
    resize_mode: Literal["crop", "squash"] | None = Field(
        None,
        description='"crop" resizes the shorter side and crops the centre, "squash" resizes both sides to `image_size`.',
    )
    crop_fraction: float | None = Field(
        None, gt=0, le=1, description='Part of the resized shorter side that the crop keeps; not for "squash".'
    )
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = Field(None, description="How images are resized.")
    mean: tuple[float, float, float] | None = Field(None, description="RGB mean in 0..1, which is subtracted.")
    std: tuple[float, float, float] | None = Field(None, description="RGB standard deviation in 0..1, the divisor.")

    def emitted_features(self) -> FeatureKind:
        """The value of `features`."""
        return self.features

    @model_validator(mode="after")
    def _no_option_without_effect(self) -> Self:
        if self.features == "pooled" and self.include_cls is not None:
            raise ValueError('"include_cls" has no effect on features "pooled"; remove it, or set features to "tokens"')
        if self.resize_mode == "squash" and self.crop_fraction is not None:
            raise ValueError('"crop_fraction" has no effect when resize_mode is "squash"; remove one of them')
        for name in sorted(_OWN_OPTIONS.keys() & self.model_args.keys()):
            raise ValueError(f'model_args may not set "{name}": use the option "{_OWN_OPTIONS[name]}" of this encoder')
        return self


@hookimpl
def register_encoders() -> list[Component]:
    """Registers "timm"."""
    return [
        Component(
            name="timm",
            config=TimmConfig,
            target=f"{__name__}.model:TimmEncoder",
            summary="Any timm model; pooled embedding, patch tokens or the grid of a CNN.",
            example=TimmConfig(model="test_vit", weights="random", features="tokens", image_size=32),
            starter=TimmConfig(model="vit_base_patch16_224.augreg_in21k", weights="pretrained"),
            needs="a download of about 410 MB",
            source="timm (Wightman, 2019), https://github.com/huggingface/pytorch-image-models",
        )
    ]
