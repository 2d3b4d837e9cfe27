"""Compares two versions of capfw: seconds and peak memory of extraction, training and captioning.

python bench/against.py PYTHON_OF_THE_OLD PYTHON_OF_THE_NEW [--repeats 5]

Each argument is the Python of an environment with one version installed (`pip install -e .` in its checkout). The script
runs the two in turn, each time in a fresh process that uses only the public names of capfw. Both read the same PNG files,
as data set `coco`. Seconds are for all 3,020 images (extraction, without the start of a run, which has its own line), for
1,000 captions (training) and for 1,000 words (captioning: each version trains its own model, whose captions have their own
lengths). Ratios are old / new: above 1, the new version is faster or needs less memory.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

MEASURE = """
import json, resource, sys, time
from pathlib import Path
import torch
from capfw import Captioner, load_spec, run
from capfw.core.registry import Registry
from transformers import PreTrainedModel  # loaded before the clock starts

torch.set_num_threads(1)
stage, folder = sys.argv[1], Path(sys.argv[2])
registry = Registry.discover()
vit = {"image_size": 64, "patch_size": 16, "width": 192, "num_layers": 6, "num_heads": 6}
spec = load_spec({
    "capfw": 1,
    "data": {"name": "coco", **{
        split: {"images": str(folder.parent / "images"), "captions": str(folder.parent / f"{split}.json")}
        for split in ("train", "val", "test")
    }},
    "features": {"num_workers": 0, "batch_size": 32},
    "encoder": {"name": "vit", "weights": "random", "features": "tokens", "architecture": vit},
    "mapper": {"name": "transformer", "prefix_length": 8, "num_layers": 2, "num_heads": 4},
    "decoder": {"name": "gpt2", "weights": "random", "num_layers": 4, "width": 256, "num_heads": 4, "max_positions": 96},
    "train": {"epochs": 1, "max_steps": 50, "batch_size": 32, "lr": 0.001, "save_every_steps": 1000},
    "generate": {"method": "greedy", "max_tokens": 24, "batch_size": 32},
    "metrics": [{"name": "cider"}],
    "run_dir": str(folder / "run"),
}, registry=registry)
start = time.perf_counter()
if stage == "extraction":
    run(spec, registry=registry, until="extract")
    first = time.perf_counter() - start
    start = time.perf_counter()
    run(spec, registry=registry, until="extract")  # the features are there: the start of a run alone
    started = time.perf_counter() - start
    seconds = first - started
elif stage == "training":
    run(spec, registry=registry, until="train")
    steps = [json.loads(line) for line in (folder / "run/log.jsonl").read_text().splitlines()]
    rates = [step["captions_per_second"] for step in steps if step["event"] == "step"][1:]
    seconds = 1000 / (sum(rates) / len(rates))
else:
    captioner = Captioner.load(folder / "run", device="cpu", registry=registry)
    from PIL import Image
    images = [Image.open(file).convert("RGB") for file in sorted((folder.parent / "images").glob("test-*.png"))]
    captioner.caption(images[:32])
    start = time.perf_counter()
    captions = captioner.caption(images)
    seconds = time.perf_counter() - start
    seconds *= 1000 / sum(len(caption.text.split()) for of_image in captions for caption in of_image)
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"start": started if stage == "extraction" else 0.0, "seconds": seconds, "megabytes": megabytes}))
"""
NUM_IMAGES = {"train": 2400, "val": 20, "test": 600}
COLOURS = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
STAGES = ("extraction", "training", "captioning")  # in this order over one run directory


def write_data(folder: Path) -> None:
    """Writes images of 64 x 64 pixels, a square on a ground, each with three captions, and COCO's captions files."""
    rng = random.Random(0)
    (folder / "images").mkdir()
    for split, count in NUM_IMAGES.items():
        images, annotations = [], []
        for number in range(count):
            ground, square = rng.sample(COLOURS, 2)
            left, top, side = rng.randrange(40), rng.randrange(40), rng.randrange(8, 24)
            image = Image.effect_noise((64, 64), 40).convert("RGB")  # noise, so that a file is as large as a photo's
            image.paste(ground, (0, 16, 64, 64))
            image.paste(square, (left, top, left + side, top + side))
            name = f"{split}-{number:04}.png"
            image.save(folder / "images" / name)
            images.append({"id": name, "file_name": name})
            size = "large" if side > 16 else "small"
            texts = (
                f"a {square} square on a {ground} ground",
                f"{size} {square} square",
                f"this is {ground} and {square}",
            )
            annotations += [{"image_id": name, "caption": text} for text in texts]
        (folder / f"{split}.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def measure(python: str, stage: str, folder: Path) -> dict[str, float]:
    """Returns the seconds and megabytes of one stage in a fresh process."""
    done = subprocess.run(
        [python, "-c", MEASURE, stage, str(folder)], capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        sys.exit(f"{python}: {stage} failed\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Prints two lines per stage: seconds and megabytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as data:
        write_data(Path(data))
        for number in range(asked.repeats):
            order = [("old", asked.old), ("new", asked.new)]
            for version, python in order if number % 2 == 0 else order[::-1]:
                with tempfile.TemporaryDirectory(dir=data) as folder:
                    for stage in STAGES:
                        found.setdefault((stage, version), []).append(measure(python, stage, Path(folder)))
    for stage in STAGES:
        for unit in ("start", "seconds", "megabytes") if stage == "extraction" else ("seconds", "megabytes"):
            old, new = (statistics.median(each[unit] for each in found[stage, v]) for v in ("old", "new"))
            print(f"{stage:<11} {unit:<9} old {old:8.2f}   new {new:8.2f}   ratio {old / new:.3f}")


if __name__ == "__main__":
    main()
