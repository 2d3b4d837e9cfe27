"""Files of candidates and references, and a metric that counts words, for the tests of scoring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capfw.core.protocols import Captioned, Scores


class Words:
    """Number of words of the candidate."""

    def score(self, captioned: Captioned) -> Scores:
        assert list(captioned.candidates) == list(captioned.references)
        counts = {image_id: float(len(caption.split())) for image_id, caption in captioned.candidates.items()}
        return Scores({"WORDS": sum(counts.values()) / len(counts)}, {"WORDS": counts})

    def signature(self) -> dict[str, str]:
        return {"variant": "words"}


def write(folder: Path, name: str, content: object) -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


def results(folder: Path, captions: Sequence[tuple[Any, str]]) -> Path:
    return write(folder, "results.json", [{"image_id": i, "caption": caption} for i, caption in captions])


def captions_file(folder: Path, captions: Sequence[tuple[Any, str]]) -> Path:
    annotations = [{"id": n, "image_id": i, "caption": caption} for n, (i, caption) in enumerate(captions)]
    return write(folder, "captions.json", {"images": [{"id": i} for i, _ in captions], "annotations": annotations})
