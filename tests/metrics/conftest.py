"""The COCO result file that coco-caption carries, with its references and published scores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from capfw.core.protocols import Captioned


@dataclass(frozen=True)
class Fakecap:
    candidates: dict[int, str]
    references: dict[int, tuple[str, ...]]
    expected: dict[str, Any]

    @property
    def captioned(self) -> Captioned:
        return Captioned(self.candidates, self.references)


@pytest.fixture(scope="session")
def fakecap(shared_data: Path) -> Fakecap:
    folder = shared_data / "coco_val2017"
    results, captions, expected = (
        json.loads((folder / name).read_text("utf-8"))
        for name in ("fakecap_results.json", "captions_val2017.json", "fakecap_expected.json")
    )
    candidates = {entry["image_id"]: entry["caption"] for entry in results}
    references: dict[int, tuple[str, ...]] = {}
    for annotation in captions["annotations"]:
        if annotation["image_id"] in candidates:
            references[annotation["image_id"]] = (*references.get(annotation["image_id"], ()), annotation["caption"])
    return Fakecap(candidates, references, expected)
