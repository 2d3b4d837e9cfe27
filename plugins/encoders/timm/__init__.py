"""timm encoder: any model of the timm library."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ....core.protocols import Component, ComponentConfig, FeatureKind, Weights, hookimpl


class TimmConfig(ComponentConfig):
    """Options of the timm encoder. What is null comes from the model\'s own data config."""

    model: str = Field(description='timm model name, such as "vit_base_patch16_224.augreg_in21k".')
    weights: Weights = Field(
        "pretrained", description='"pretrained" (published), a local file (.safetensors, .pth, ...), or "random".'
    )
    model_args: dict[str, Any] = Field(default_factory=dict, description="Arguments passed on to timm.create_model.")
    features: Literal["pooled", "tokens"] = Field(
        "pooled", description="One embedding per image, or tokens: the patches of a transformer, the grid of a CNN."
    )
    include_cls: bool | None = Field(
        None,
        description="Whether a transformer's prefix tokens stand before the patches; null means false. Only with tokens.",
    )
    normalize: bool = Field(False, description="Divide each token by its L2 norm.")
    image_size: int | None = Field(None, ge=1, description="Input side in pixels.")
    resize_mode: Literal["crop", "squash"] | None = Field(
        None, description="Resize the shorter side and crop the centre, or squash the image to a square."
    )
    crop_fraction: float | None = Field(None, gt=0, le=1, description="Part of the resized side that is kept by crop.")
    interpolation: Literal["bilinear", "bicubic"] | None = Field(None, description="How images are resized.")
    mean: tuple[float, float, float] | None = Field(None, description="Subtracted from RGB in 0..1.")
    std: tuple[float, float, float] | None = Field(None, description="RGB is divided by this.")

    @model_validator(mode="after")
    def _no_option_without_effect(self) -> Self:
        if self.features == "pooled" and self.include_cls is not None:
            raise ValueError('include_cls only with "features": "tokens".')
        if self.resize_mode == "squash" and self.crop_fraction is not None:
            raise ValueError('crop_fraction only with "resize_mode": "crop".')
        if taken := sorted({"pretrained", "checkpoint_path", "num_classes"} & self.model_args.keys()):
            raise ValueError(f"model_args: {', '.join(taken)} is set by this encoder; use `weights`.")
        return self

    def emitted_features(self) -> FeatureKind:
        """As `features` says."""
        return self.features


@hookimpl
def register_encoders() -> list[Component]:
    """The encoder of this plugin."""
    return [
        Component(
            name="timm",
            config=TimmConfig,
            target=f"{__name__}.model:TimmEncoder",
            summary="Any timm model: pooled embedding, patch tokens or the grid of a CNN.",
            example=TimmConfig(model="test_vit", weights="random", features="tokens"),
            source="timm (Wightman, 2019), https://github.com/huggingface/pytorch-image-models",
        )
    ]
