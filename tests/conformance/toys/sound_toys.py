"""A plugin with a small, correct component of each kind. `broken_toys` spoils one thing at a time."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Literal

from pydantic import Field

from capfw.core.protocols import (
    Component,
    ComponentConfig,
    ContextConfig,
    DatasetConfig,
    DecoderConfig,
    EncoderConfig,
    ExporterConfig,
    FeatureKind,
    ImporterConfig,
    InputFolder,
    LoggerConfig,
    MapperConfig,
    MetricConfig,
    ObjectiveConfig,
    hookimpl,
)


class EyeConfig(EncoderConfig):
    features: FeatureKind = Field("pooled", description="What is emitted.")
    flip: bool = Field(False, description="Mirror the image.")
    side: int = Field(8, ge=4, description="Side of the pixels.")

    def emitted_features(self) -> FeatureKind:
        return self.features


class MapConfig(MapperConfig):
    prefix_length: int = Field(2, ge=1, description="Prefix vectors per image (P).")


class PooledMapConfig(MapConfig):
    def required_features(self) -> FeatureKind:
        return "pooled"


class VoiceConfig(DecoderConfig):
    table: Literal["trained", "fixed"] = Field("trained", description="Whether the token table can be trained.")


class LengthConfig(MetricConfig):
    def score_names(self) -> tuple[str, ...]:
        return ("length",)


class BrightnessConfig(LengthConfig):
    def needs(self) -> tuple[str, ...]:
        return ("images",)


class HearingConfig(EncoderConfig):
    pass


class ElsewhereConfig(ImporterConfig):
    pass


class SheetConfig(ExporterConfig):
    def suffix(self) -> str:
        return ".txt"


class DiaryConfig(LoggerConfig):
    pass


class SumConfig(ObjectiveConfig):
    rewards: bool = Field(False, description="Weight each caption with its reward.")

    def metrics(self) -> tuple[dict[str, str], ...]:
        return ({"name": "length"},) * self.rewards


class OtherConfig(ContextConfig):
    by: Literal["order", "features"] = Field("order", description="Which other image's caption is taken.")

    def reads_features(self) -> bool:
        return self.by == "features"


class FolderConfig(DatasetConfig):
    images: InputFolder = Field(description="Folder with an image, and a caption in a text file, per sample.")


def write_folder(folder: Path) -> FolderConfig:
    from PIL import Image

    for split in ("train", "val"):
        for number in range(2):
            Image.new("RGB", (8, 8)).save(folder / f"{split}-{number}.png")
            (folder / f"{split}-{number}.txt").write_text("a dark picture")
    return FolderConfig(images=folder)


def short_sounds() -> list[bytes]:
    sounds = []
    for loudness in (10, 50, 90):
        file = io.BytesIO()
        with wave.open(file, "wb") as opened:
            opened.setparams((1, 1, 8000, 16, "NONE", ""))
            opened.writeframes(bytes([128 + loudness, 128 - loudness] * 8))
        sounds.append(file.getvalue())
    return sounds


FOLDER_EXAMPLE = FolderConfig.model_construct(images=Path("images"))


def toy(name: str, config: type[ComponentConfig], target: str, **changes: object) -> Component:
    example = FOLDER_EXAMPLE if config is FolderConfig else config()
    write = {"write_example": write_folder} if config is FolderConfig else {}
    values = {
        "target": target if ":" in target else f"sound_models:{target}",
        "summary": "A toy.",
        "example": example,
        **write,
    }
    return Component(name=name, config=config, **{**values, **changes})


@hookimpl
def register_encoders() -> list[Component]:
    hearing = toy("hearing", HearingConfig, "Hearing", example_sources=short_sounds)
    return [toy("eye", EyeConfig, "Eye"), toy("quick-eye", EyeConfig, "QuickEye"), hearing]


@hookimpl
def register_mappers() -> list[Component]:
    return [toy("map", MapConfig, "Map"), toy("pooled-map", PooledMapConfig, "PooledMap")]


@hookimpl
def register_decoders() -> list[Component]:
    return [toy("voice", VoiceConfig, "Voice")]


@hookimpl
def register_metrics() -> list[Component]:
    return [toy("length", LengthConfig, "Length"), toy("brightness", BrightnessConfig, "Brightness")]


@hookimpl
def register_datasets() -> list[Component]:
    return [toy("folder", FolderConfig, "Folder")]


@hookimpl
def register_importers() -> list[Component]:
    return [toy("elsewhere", ElsewhereConfig, "Elsewhere")]


@hookimpl
def register_exporters() -> list[Component]:
    return [toy("sheet", SheetConfig, "Sheet")]


@hookimpl
def register_loggers() -> list[Component]:
    return [toy("diary", DiaryConfig, "Diary")]


@hookimpl
def register_objectives() -> list[Component]:
    return [toy("sum", SumConfig, "Sum"), toy("rewarded", SumConfig, "Sum", example=SumConfig(rewards=True))]


@hookimpl
def register_contexts() -> list[Component]:
    return [toy("other", OtherConfig, "Other")]
