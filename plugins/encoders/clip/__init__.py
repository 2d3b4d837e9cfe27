"""CLIP image encoders of open_clip: the projected embedding, or the patch tokens before projection."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ....core.protocols import Component, EncoderConfig, FeatureKind, Weights, hookimpl, is_local_path
from ...libraries.clip_architectures import Architecture

Statistics = tuple[float, float, float]


class ClipConfig(EncoderConfig):
    """Options of encoder "clip"."""

    model: str | Architecture | None = Field(
        None,
        description='open_clip architecture ("ViT-B-32", "RN50x4"), or a written-out one. '
        "Absent only when `weights` is a folder, which states its own.",
    )
    weights: Weights = Field(
        description='Pretrained tag of open_clip ("openai", "laion2b_s34b_b79k"), a local file saved by open_clip, '
        "OpenAI's own .pt archive, a folder saved by transformers' CLIPModel or by open_clip, or \"random\". "
        'The tag "openai", OpenAI\'s archive and folders that state it use quick-GELU; for any other file of OpenAI '
        'weights, name the model with "-quickgelu". A folder of transformers uses its own image processor.'
    )
    features: FeatureKind = Field("pooled", description="The projected embedding, or the patch tokens without [CLS].")
    normalize: bool | None = Field(
        None,
        description="Divide each emitted vector by its L2 norm. Absent: true for pooled embeddings, false for tokens.",
    )
    mean: Statistics | None = Field(
        None,
        description="RGB mean in 0..1. Absent: the value published with the weights; where it is not known, OpenAI's, "
        "with a notice.",
    )
    std: Statistics | None = Field(None, description="RGB standard deviation in 0..1. Absent: as for `mean`.")
    resize_mode: Literal["shortest", "longest", "squash"] | None = Field(
        None,
        description='"shortest" resizes the shorter side and crops, "longest" resizes the longer side and pads, "squash" '
        'resizes both sides. Absent: as for `mean`. Folders of transformers do not support "longest".',
    )

    def emitted_features(self) -> FeatureKind:
        """The value of `features`."""
        return self.features

    @model_validator(mode="after")
    def _only_a_path_states_its_architecture(self) -> Self:
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
            summary="CLIP vision towers of open_clip; projected embedding or patch tokens.",
            example=ClipConfig(model=TINY, weights="random"),
            starter=ClipConfig(model="ViT-B-32", weights="openai"),
            needs="a download of about 600 MB",
            is_recommended=True,
            source='Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision", '
            "arXiv 2103.00020; open_clip (Ilharco et al., 2021)",
        )
    ]
