"""Vision Transformers of the transformers library: ViT, DeiT, DINOv2, DINOv3, BEiT, the towers of CLIP and SigLIP."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ....core.protocols import Component, EncoderConfig, FeatureKind, Weights, hookimpl


class VitArchitecture(BaseModel):
    """Sizes of a plain ViT (Dosovitskiy et al., 2021); the defaults are ViT-B/16."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(224, ge=1, description="Side of the square input, in pixels.")
    patch_size: int = Field(16, ge=1, description="Side of a patch, in pixels.")
    width: int = Field(768, ge=1, description="Width of a token (D).")
    num_layers: int = Field(12, ge=1, description="Transformer layers.")
    num_heads: int = Field(12, ge=1, description="Attention heads; must divide `width`.")
    mlp_ratio: float = Field(4.0, gt=0, description="Hidden width of the MLP, in multiples of `width`.")

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        return self


class VitConfig(EncoderConfig):
    """Options of encoder "vit"."""

    weights: Weights = Field(
        description='Published id ("google/vit-base-patch16-224-in21k"), a folder with the model and its image processor '
        '(save_pretrained of both), or "random".'
    )
    architecture: VitArchitecture | None = Field(
        None, description='Sizes of the model; only with weights "random". Absent: ViT-B/16.'
    )
    features: FeatureKind = Field("pooled", description="One embedding per image, or the patch tokens.")
    pooling: Literal["cls", "pooler"] = Field(
        "cls",
        description='For pooled features: "cls" is the first token of last_hidden_state, "pooler" is pooler_output (a '
        "trained dense layer and tanh in ViT; the normed [CLS] in CLIP and DINO; attention pooling in SigLIP).",
    )
    include_cls: bool = Field(False, description="For tokens: put [CLS] before the patch tokens.")
    normalize: bool = Field(False, description="Divide each emitted vector by its L2 norm.")

    def emitted_features(self) -> FeatureKind:
        """The value of `features`."""
        return self.features

    @model_validator(mode="after")
    def _no_option_without_effect(self) -> Self:
        if self.architecture is not None and self.weights != "random":
            raise ValueError('"architecture" is only for weights "random": a checkpoint states its own; remove it')
        if self.features == "tokens" and self.pooling != "cls":
            raise ValueError('"pooling" has no effect on features "tokens"; remove it, or set features to "pooled"')
        if self.features == "pooled" and self.include_cls:
            raise ValueError('"include_cls" has no effect on features "pooled"; remove it, or set features to "tokens"')
        return self


TINY = VitArchitecture(image_size=32, patch_size=16, width=32, num_layers=1, num_heads=2)


@hookimpl
def register_encoders() -> list[Component]:
    """Registers "vit"."""
    return [
        Component(
            name="vit",
            config=VitConfig,
            target=f"{__name__}.model:VitEncoder",
            summary="Vision Transformers of the transformers library; [CLS], pooler output or patch tokens.",
            example=VitConfig(weights="random", architecture=TINY),
            starter=VitConfig(weights="google/vit-base-patch16-224-in21k"),
            needs="a download of about 350 MB",
            source='Dosovitskiy et al., 2021, "An Image is Worth 16x16 Words", arXiv 2010.11929; '
            "transformers (Wolf et al., 2020)",
        )
    ]
