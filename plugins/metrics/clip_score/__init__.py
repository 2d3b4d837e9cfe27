"""CLIPScore and RefCLIPScore: how well a caption fits its image, to a CLIP model, with or without references."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ....core.protocols import Component, MetricConfig, Weights, hookimpl

SOURCE = 'Hessel et al., 2021, "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", arXiv 2104.08718'


class TwoTowers(BaseModel):
    """An architecture written out, in the words of open_clip's own model files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embed_dim: int = Field(ge=1, description="Width of the space images and texts share.")
    vision_cfg: dict[str, JsonValue] = Field(description="Fields of open_clip's `CLIPVisionCfg`.")
    text_cfg: dict[str, JsonValue] = Field(description="Fields of open_clip's `CLIPTextCfg`.")
    quick_gelu: bool = Field(False, description="x * sigmoid(1.702 x), OpenAI's activation, in place of GELU.")


class ClipScoreConfig(MetricConfig):
    """Options of metric "clip-score"."""

    model: str | TwoTowers | None = Field(
        None,
        description='open_clip architecture, or one written out. Absent: "ViT-B-32", or what a folder of weights states.',
    )
    weights: Weights = Field(
        "openai",
        description="Pretrained tag of open_clip (\"openai\" is the paper's), a local file saved by open_clip, OpenAI's "
        'own archive, a folder saved by transformers\' CLIPModel or by open_clip, or "random". For a bare'
        ' file of OpenAI weights name the model with "-quickgelu".',
    )
    prompt: str = Field("A photo depicts ", description="Put before every caption.")
    batch_size: int = Field(64, ge=1, description="Images, or captions, encoded at once.")

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
            summary="CLIPScore: similarity of caption and image, no references needed.",
            example=ClipScoreConfig(model=_TINY, weights="random"),
            source=SOURCE,
        ),
        Component(
            name="ref-clip-score",
            config=RefClipScoreConfig,
            target=f"{__name__}.model:RefClipScore",
            summary="RefCLIPScore: CLIPScore and the similarity to the nearest reference, in one number.",
            example=RefClipScoreConfig(model=_TINY, weights="random"),
            source=SOURCE,
        ),
    ]
