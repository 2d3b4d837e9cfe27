"""CLIP image encoders through open_clip: the projected embedding, or the patch tokens before projection."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from ....core.protocols import Component, EncoderConfig, FeatureKind, Weights, hookimpl, is_local_path

Statistics = tuple[float, float, float]


class Architecture(BaseModel):
    """An architecture written out, in the words of open_clip's own model files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embed_dim: int = Field(ge=1, description="Width of the projected embedding (D).")
    vision_cfg: dict[str, JsonValue] = Field(description="Fields of open_clip's `CLIPVisionCfg`.")
    quick_gelu: bool = Field(False, description="x * sigmoid(1.702 x), OpenAI's activation, in place of GELU.")


class ClipConfig(EncoderConfig):
    """Options of encoder "clip"."""

    model: str | Architecture | None = Field(
        None,
        description='open_clip architecture ("ViT-B-32", "RN50x4"), or one written out. '
        "Absent only when `weights` is a folder, which states its own.",
    )
    weights: Weights = Field(
        description='Pretrained tag of open_clip ("openai", "laion2b_s34b_b79k"), a local file saved by open_clip, '
        "OpenAI's own .pt archive, a folder saved by transformers' CLIPModel or by open_clip, or \"random\". "
        'Quick-GELU is on for the tag "openai", OpenAI\'s archive and folders that ask for it; for a bare file of '
        'OpenAI weights name the model with "-quickgelu". A folder of transformers gives the pixels of its image processor.'
    )
    features: FeatureKind = Field("pooled", description="The projected embedding, or the patch tokens without [CLS].")
    normalize: bool | None = Field(
        None, description="Divide each emitted vector by its L2 norm. Absent: pooled embeddings yes, patch tokens no."
    )
    mean: Statistics | None = Field(
        None,
        description="RGB mean in 0..1. Absent: what the weights were published with; OpenAI's, with a notice, where "
        "that is not known.",
    )
    std: Statistics | None = Field(None, description="RGB deviation in 0..1. Absent: as for `mean`.")
    resize_mode: Literal["shortest", "longest", "squash"] | None = Field(
        None,
        description="Resize the shorter side and crop, the longer side and pad, or both sides. "
        'Absent: as for `mean`. "longest" is not for folders of transformers.',
    )

    def emitted_features(self) -> FeatureKind:
        """Pooled or tokens, as `features` says."""
        return self.features

    @model_validator(mode="after")
    def _only_a_path_may_say_the_architecture(self) -> Self:
        if self.model is None and not is_local_path(self.weights):
            raise ValueError(
                f'weights "{self.weights}" need an architecture: set "model" to an open_clip name such as "ViT-B-32"'
            )
        return self


TINY = Architecture(
    embed_dim=16, vision_cfg={"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
)


@hookimpl
def register_encoders() -> list[Component]:
    """Registers "clip"."""
    return [
        Component(
            name="clip",
            config=ClipConfig,
            target=f"{__name__}.model:ClipEncoder",
            summary="CLIP vision towers of open_clip: projected embedding or patch tokens.",
            example=ClipConfig(model=TINY, weights="random"),
            starter=ClipConfig(model="ViT-B-32", weights="openai"),
            is_recommended=True,
            source='Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision", '
            "arXiv 2103.00020; open_clip (Ilharco et al., 2021)",
        )
    ]
