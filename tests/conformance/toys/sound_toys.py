"""A plugin with a small, correct component of each kind. `broken_toys` spoils one thing at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from capfw.core.protocols import Component, ComponentConfig, FeatureKind, InputFolder, hookimpl


class EyeConfig(ComponentConfig):
    features: FeatureKind = Field("pooled", description="What is emitted.")
    flip: bool = Field(False, description="Mirror the image.")
    side: int = Field(8, ge=4, description="Side of the pixels.")

    def emitted_features(self) -> FeatureKind:
        return self.features


class MapConfig(ComponentConfig):
    prefix_length: int = Field(2, ge=1, description="Prefix vectors per image (P).")


class PooledMapConfig(MapConfig):
    def required_features(self) -> FeatureKind:
        return "pooled"


class VoiceConfig(ComponentConfig):
    tuning: Literal["full", "frozen"] = Field("full", description="What is trained.")


class LengthConfig(ComponentConfig):
    def score_names(self) -> tuple[str, ...]:
        return ("length",)


class FolderConfig(ComponentConfig):
    images: InputFolder = Field(description="Folder with an image, and a caption in a text file, per sample.")


def write_folder(folder: Path) -> FolderConfig:
    from PIL import Image

    for split in ("train", "val"):
        for number in range(2):
            Image.new("RGB", (8, 8)).save(folder / f"{split}-{number}.png")
            (folder / f"{split}-{number}.txt").write_text("a dark picture")
    return FolderConfig(images=folder)


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
    return [toy("eye", EyeConfig, "Eye")]


@hookimpl
def register_mappers() -> list[Component]:
    return [toy("map", MapConfig, "Map"), toy("pooled-map", PooledMapConfig, "PooledMap")]


@hookimpl
def register_decoders() -> list[Component]:
    return [toy("voice", VoiceConfig, "Voice")]


@hookimpl
def register_metrics() -> list[Component]:
    return [toy("length", LengthConfig, "Length"), toy("brightness", LengthConfig, "Brightness")]


@hookimpl
def register_datasets() -> list[Component]:
    return [toy("folder", FolderConfig, "Folder")]
