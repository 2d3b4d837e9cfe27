"""Times the resampling of a comparison, and the whole command, on 5,000 images.

python bench/comparing.py CAPTIONS.json

CAPTIONS.json holds the captions of COCO's val split, or other captions in COCO's format; at most 5,000 images are used. The
first caption of each image is the candidate of system A. System B drops a random word of every third one. The other captions
are the references. Scores: BLEU, ROUGE-L, CIDEr. One thread: set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from capfw.core.comparing.comparison import compare_systems
from capfw.core.comparing.systems import Rescoring, read_systems
from capfw.core.registry import Registry
from capfw.core.resampling import bootstrap, randomisation

NUM_IMAGES = 5000


def write_files(captions: Path, folder: Path) -> list[Path]:
    """Writes the candidates of both systems, and the references."""
    rng, by_image = random.Random(0), defaultdict(list)
    for each in json.loads(captions.read_text("utf-8"))["annotations"]:
        by_image[each["image_id"]].append(each["caption"])
    chosen = dict(list(by_image.items())[:NUM_IMAGES])

    def worse(text: str) -> str:
        words = text.split()
        if rng.random() < 1 / 3 and len(words) > 1:
            words.pop(rng.randrange(len(words)))
        return " ".join(words)

    references = [{"image_id": i, "caption": text} for i, texts in chosen.items() for text in texts[1:]]
    contents = {
        "a.json": [{"image_id": i, "caption": texts[0]} for i, texts in chosen.items()],
        "b.json": [{"image_id": i, "caption": worse(texts[0])} for i, texts in chosen.items()],
        "references.json": {"annotations": references},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return [folder / name for name in contents]


def main() -> None:
    """Prints the times."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        *candidates, references = write_files(Path(sys.argv[1]), Path(folder))
        started = time.perf_counter()
        systems = read_systems(
            [*map(str, candidates)],
            split=None,
            rescoring=Rescoring(references, "bleu,rouge-l,cider"),
            registry=Registry.discover(),
        )
        print(f"score two systems: {time.perf_counter() - started:.2f} s")
    first, second = (list(system.runs[0].summed.values()) for system in systems)
    started = time.perf_counter()
    bootstrap(first, num_resamples=1000, seed=0)
    print(f"bootstrap of one system, 1,000 resamples: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    randomisation(first, second, num_trials=10_000, seed=0)
    print(f"randomisation, 10,000 trials: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    found = compare_systems(systems, num_resamples=1000, num_images=5, seed=0)
    print(f"the whole comparison, {found.num_images:,} images: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
