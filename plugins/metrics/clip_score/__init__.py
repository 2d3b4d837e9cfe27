"""CLIPScore and RefCLIPScore: the similarity of a caption to its image, and to the references, in a CLIP model."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, MetricConfig, Weights, hookimpl
from ...libraries.clip_architectures import TwoTowers

SOURCE = 'Hessel et al., 2021, "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", arXiv 2104.08718'


class ClipScoreConfig(MetricConfig):
    """Options of metric "clip-score"."""

    model: str | TwoTowers | None = Field(
        None,
        description='open_clip architecture, or a written-out one. Absent: that of a folder of weights, else "ViT-B-32".',
    )
    weights: Weights = Field(
        "openai",
        description="Pretrained tag of open_clip (\"openai\" is the paper's), a local file saved by open_clip, OpenAI's "
        'own archive, a folder saved by transformers\' CLIPModel or by open_clip, or "random". For any other file of '
        'OpenAI weights, name the model with "-quickgelu".',
    )
    prompt: str = Field("A photo depicts ", description="Text before every caption.")
    batch_size: int = Field(64, ge=1, description="Images, or captions, per forward pass.")

    def needs(self) -> tuple[str, ...]:
        """The images."""
        return ("images",)

    def score_names(self) -> tuple[str, ...]:
        """CLIPScore: 2.5 times the cosine of caption and image, at least 0."""
        return ("CLIPScore",)


class RefClipScoreConfig(ClipScoreConfig):
    """Options of metric "ref-clip-score"."""

    def score_names(self) -> tuple[str, ...]:
        """RefCLIPScore: harmonic mean of CLIPScore and the cosine with the nearest reference."""
        return ("RefCLIPScore",)


_TINY = TwoTowers(
    embed_dim=8,
    vision_cfg={"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8},
    text_cfg={"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "clip-score" and "ref-clip-score"."""
    return [
        Component(
            name="clip-score",
            config=ClipScoreConfig,
            target=f"{__name__}.model:ClipScore",
            summary="CLIPScore: similarity of caption and image, without references.",
            example=ClipScoreConfig(model=_TINY, weights="random"),
            source=SOURCE,
        ),
        Component(
            name="ref-clip-score",
            config=RefClipScoreConfig,
            target=f"{__name__}.model:RefClipScore",
            summary="RefCLIPScore: harmonic mean of CLIPScore and the similarity to the nearest reference.",
            example=RefClipScoreConfig(model=_TINY, weights="random"),
            source=SOURCE,
        ),
    ]
