"""A plugin with one light component of each kind, for tests that need no built-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from capfw.core.protocols import (
    Component,
    ComponentConfig,
    ContextConfig,
    DatasetConfig,
    DecoderConfig,
    EncoderConfig,
    FeatureKind,
    InputFile,
    InputFolder,
    MapperConfig,
    MetricConfig,
    ObjectiveConfig,
    Weights,
    hookimpl,
)


class Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=1, description="Width of a layer.")
    sizes: tuple[float, float] | None = Field(None, description="Two sizes.")


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Literal["square"] = Field(description="A square.")
    square: int = Field(3, description="A field called like its tag.")
    side: int = Field(description="Length of a side, in pixels.")


class Disc(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Literal["disc"] = Field(description="A disc.")
    radius: float = Field(1.0, gt=0, description="Radius, in pixels.")


class EyeConfig(EncoderConfig):
    weights: Weights = Field("random", description="A published name, a local file or random.")
    features: FeatureKind = Field("pooled", description="What is emitted.")
    model: str | Sizes | None = Field(None, description="A name, or sizes.")
    pupil: Annotated[Square | Disc, Field(discriminator="shape")] | None = Field(None, description="Its shape.")
    layers: dict[str, Sizes] = Field(default_factory=dict, description="Sizes by layer.")

    def emitted_features(self) -> FeatureKind:
        return self.features


class PooledMapConfig(MapperConfig):
    prefix_length: int = Field(10, ge=1, le=100, description="Prefix vectors per image (P).")

    def required_features(self) -> FeatureKind:
        return "pooled"


class AnyMapConfig(MapperConfig):
    prefix_length: int = Field(10, ge=1, description="Prefix vectors per image (P).")


class VoiceConfig(DecoderConfig):
    pass


class FolderConfig(DatasetConfig):
    captions: InputFile | None = Field(None, description="Captions file.")
    images: InputFolder | None = Field(None, description="Image folder.")


class LengthConfig(MetricConfig):
    unit: Literal["words", "characters"] = Field("words", description="What is counted.")
    most: int = Field(100, description="What is longer counts as this long.")

    def score_names(self) -> tuple[str, ...]:
        return ("length",) if self.most == 100 else (f"length-{self.most}",)


class PlainConfig(ObjectiveConfig):
    pass


class RewardConfig(ObjectiveConfig):
    baseline: float = Field(0.0, description="Subtracted from the reward.")
    reward: dict[str, JsonValue] = Field(default={"name": "length"}, description="A metric, as in /metrics.")

    def metrics(self) -> tuple[Mapping[str, JsonValue], ...]:
        return (self.reward,)


class TableConfig(ContextConfig):
    table: InputFile | None = Field(None, description="Texts by image.")
    is_nearest: bool = Field(False, description="Take the text of the nearest image.")

    def reads_features(self) -> bool:
        return self.is_nearest


def component(name: str, config: type[ComponentConfig], **changes: object) -> Component:
    values = {"target": "toys.model:Toy", "summary": "A toy.", "example": config(), **changes}
    return Component(name=name, config=config, **values)


class Parts:
    """Hooks as methods of an object; a module works as well."""

    @hookimpl
    def register_encoders(self) -> list[Component]:
        return [component("eye", EyeConfig)]

    @hookimpl
    def register_mappers(self) -> list[Component]:
        return [component("pooled-map", PooledMapConfig), component("any-map", AnyMapConfig)]

    @hookimpl
    def register_decoders(self) -> list[Component]:
        return [component("voice", VoiceConfig)]

    @hookimpl
    def register_metrics(self) -> list[Component]:
        return [component("length", LengthConfig)]

    @hookimpl
    def register_datasets(self) -> list[Component]:
        return [component("folder", FolderConfig)]

    @hookimpl
    def register_contexts(self) -> list[Component]:
        return [component("table", TableConfig)]


class Toys(Parts):
    """With objectives, so that a spec needs nothing else: one has the name of the built-in, which is the default."""

    @hookimpl
    def register_objectives(self) -> list[Component]:
        return [component("cross-entropy", PlainConfig), component("reward", RewardConfig)]


def spec(**changes: object) -> dict[str, object]:
    """The smallest spec of toys, with some sections changed."""
    return {
        "capfw": 1,
        "data": {"name": "folder"},
        "encoder": {"name": "eye"},
        "mapper": {"name": "pooled-map"},
        "decoder": {"name": "voice"},
        "train": {"best_by": "length"},
        "metrics": [{"name": "length"}],
        "run_dir": "runs/toy",
        **changes,
    }
