"""Draws a picture of captions that a run wrote: `docs/captions.png`, which the README shows.

    python docs/draw_captions.py runs/quickstart docs/captions.png

The images are every n-th of the split, not chosen. Wrong captions are shown too.
"""

from __future__ import annotations

import io
import json
import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from capfw import load_spec

NUM_IMAGES, NUM_COLUMNS, SIDE, MARGIN, TEXT_HEIGHT = 8, 4, 176, 16, 112
FONT = ImageFont.load_default(15)


def draw(run_dir: Path, output: Path) -> None:
    """Writes the picture."""
    candidates = json.loads((run_dir / "candidates/test.json").read_text(encoding="utf-8"))
    spec = load_spec(run_dir / "spec.json")
    assert spec.data is not None
    samples = {sample.image_id: sample for sample in spec.data.build().samples("test")}
    shown = candidates[:: len(candidates) // NUM_IMAGES][:NUM_IMAGES]
    num_rows = -(-len(shown) // NUM_COLUMNS)
    size = (MARGIN + NUM_COLUMNS * (SIDE + MARGIN), MARGIN + num_rows * (SIDE + TEXT_HEIGHT))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, candidate in enumerate(shown):
        sample = samples[candidate["image_id"]]
        x, y = MARGIN + number % NUM_COLUMNS * (SIDE + MARGIN), MARGIN + number // NUM_COLUMNS * (SIDE + TEXT_HEIGHT)
        photo = (
            Image.open(io.BytesIO(sample.source.read())).convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
        )
        sheet.paste(photo, (x, y))
        pen.rectangle((x, y, x + SIDE, y + SIDE), outline="#888888")
        pen.text((x, y + SIDE + 6), textwrap.fill(candidate["caption"], 24), fill="black", font=FONT)
    sheet.save(output, optimize=True)


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:3]))
