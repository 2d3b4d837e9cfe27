"""Writes a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

from ....core.protocols import CaptionedSplit
from . import CsvConfig


class CsvExporter:
    """Writes one row per image, in UTF-8: id, file, captions with the best first, references, scores.

    Captions and references have a column each, such as `caption_2` and `reference_1`.
    """

    def __init__(self, config: CsvConfig) -> None: ...

    def export(self, results: CaptionedSplit, output: Path | None) -> str:
        assert output is not None, "its config has a suffix"
        num_captions = max((len(image.captions) for image in results.images), default=1)
        num_references = max((len(image.references) for image in results.images), default=0)
        captions = [f"caption_{n}" for n in range(2, num_captions + 1)]
        references = [f"reference_{n}" for n in range(1, num_references + 1)]
        names = results.score_names
        with output.open("w", encoding="utf-8", newline="") as opened:
            table = csv.writer(opened)
            table.writerow(["image_id", "file", "caption", "log_prob", *captions, *references, *names])
            for image in results.images:
                others = [*image.captions[1:], *[""] * (num_captions - len(image.captions))]
                known = [*image.references, *[""] * (num_references - len(image.references))]
                scores = [image.scores.get(name, "") for name in names]
                table.writerow(
                    [image.image_id, image.name, image.caption, image.log_probs[0], *others, *known, *scores]
                )
        return "opens in a spreadsheet"
