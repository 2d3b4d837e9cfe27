"""Draws the scenes with Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from ....core.protocols import MemorySource, Sample
from . import ShapesConfig
from .scenes import Scene, Thing, draw_scenes

BACKGROUND = (40, 42, 48)
OVERSAMPLING = 4  # scenes are drawn this many times larger, then reduced, for smooth edges


class ShapesDataset:
    """Samples with images in memory, as PNG bytes; the same config gives the same images and references."""

    def __init__(self, config: ShapesConfig) -> None:
        self._config = config
        counts = {"train": config.num_train, "val": config.num_val, "test": config.num_test}
        self._counts = {split: count for split, count in counts.items() if count}
        self._drawn: dict[str, list[Sample]] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._counts)

    def samples(self, split: str) -> Sequence[Sample]:
        if split not in self._drawn:
            scenes = draw_scenes(self._config.seed, split, self._counts[split])
            self._drawn[split] = [
                Sample(
                    image_id=f"{split}-{i:05d}",
                    source=MemorySource(_png(scene, self._config.image_size), f"{split}-{i:05d}.png"),
                    references=scene.references,
                    file_name=f"{split}-{i:05d}.png",
                )
                for i, scene in enumerate(scenes)
            ]
        return self._drawn[split]


def _png(scene: Scene, size: int) -> bytes:
    canvas = Image.new("RGB", (size * OVERSAMPLING, size * OVERSAMPLING), BACKGROUND)
    for thing in scene.things:
        _draw(ImageDraw.Draw(canvas), thing, canvas.width)
    encoded = io.BytesIO()
    canvas.reduce(OVERSAMPLING).save(encoded, format="PNG")
    return encoded.getvalue()


def _draw(pen: ImageDraw.ImageDraw, thing: Thing, width: int) -> None:
    x, y, r = (value * width for value in (*thing.centre, thing.radius))
    box = (x - r, y - r, x + r, y + r)
    match thing.shape:
        case "circle":
            pen.ellipse(box, fill=thing.tint)
        case "square":
            pen.rectangle(box, fill=thing.tint)
        case "triangle":
            pen.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=thing.tint)
        case "cross":
            arm = 0.33 * r
            pen.rectangle((x - arm, y - r, x + arm, y + r), fill=thing.tint)
            pen.rectangle((x - r, y - arm, x + r, y + arm), fill=thing.tint)
