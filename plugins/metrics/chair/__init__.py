"""CHAIR: the objects that a caption names and the image does not have."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from ....core.protocols import Component, InputFile, MetricConfig, hookimpl


class ChairConfig(MetricConfig):
    """Options of metric "chair"."""

    objects: InputFile = Field(
        description="Objects of every scored image, in the format of COCO's instances: `images`, `annotations` (image_id, "
        "category_id) and `categories` (id, name).",
    )
    synonyms: InputFile | None = Field(
        None,
        description="Words for each object, in the format of the authors' synonyms.txt: a line per object, its name and "
        "then its synonyms, with a comma and a space between. Absent: only the names of the categories count, 80 in COCO.",
    )

    def needs(self) -> tuple[str, ...]:
        """The objects of the images."""
        return ("a file of objects",)

    def score_names(self) -> tuple[str, ...]:
        """CHAIRi: the share of wrong objects among the named ones. CHAIRs: the share of captions that name a wrong one."""
        return ("CHAIRi", "CHAIRs")

    def lower_is_better(self) -> tuple[str, ...]:
        """Both."""
        return ("CHAIRi", "CHAIRs")


def _write_example(folder: Path) -> ChairConfig:
    """Writes the objects of three images."""
    objects = {
        "images": [{"id": image_id} for image_id in ("image-7", "image-1", "image-9")],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "sports ball"}, {"id": 3, "name": "cat"}],
        "annotations": [{"image_id": "image-7", "category_id": 1}, {"image_id": "image-1", "category_id": 2}],
    }
    (folder / "instances.json").write_text(json.dumps(objects), encoding="utf-8")
    return ChairConfig(objects=folder / "instances.json")


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "chair"."""
    return [
        Component(
            name="chair",
            config=ChairConfig,
            target=f"{__name__}.model:Chair",
            summary="CHAIR: objects that a caption names and the image does not have.",
            example=ChairConfig.model_construct(objects=Path("instances_val2014.json"), synonyms=None),
            source='Rohrbach et al., 2018, "Object Hallucination in Image Captioning", arXiv 1809.02156',
            write_example=_write_example,
        )
    ]
