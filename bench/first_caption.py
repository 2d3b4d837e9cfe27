"""Times the way from nothing to captions of one's own photos: `capfw init`, `run`, `caption`, each in a fresh process.

python bench/first_caption.py FLICKR8K_FOLDER MOBILENET_V1.safetensors [--photos 200] [--threads 2]

It copies photos of Flickr8k and writes their captions as a CSV table (one row per caption), then starts the commands
that a user types, with flags only. `init` and `validate` include the start of Python; `run` and `caption` also the import
of torch. The log of the run divides its time into stages.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CAPFW = [sys.executable, "-m", "capfw"]
OPTIONS = {
    "/encoder/model": "mobilenetv1_100",
    "/encoder/model_args": {"pad_type": "same", "bn_eps": 0.001},
    "/encoder/image_size": 224,
    "/encoder/resize_mode": "squash",
    "/encoder/mean": [0.5, 0.5, 0.5],
    "/encoder/std": [0.5, 0.5, 0.5],
    "/features/standardize": True,
    "/mapper/prefix_length": 4,
    "/decoder/weights": "random",
    "/decoder/num_layers": 3,
    "/decoder/width": 256,
    "/decoder/num_heads": 4,
    "/decoder/max_positions": 64,
    "/train/epochs": 20,
    "/train/batch_size": 32,
    "/train/lr": 0.001,
    "/train/evaluate_every_epochs": 5,
}


def write_photos(flickr8k: Path, folder: Path, count: int) -> None:
    """Copies the first `count` training photos, and writes captions.csv with the columns file and caption."""
    content = json.loads((flickr8k / "annotations" / "captions_train.json").read_text(encoding="utf-8"))
    names = {each["id"]: each["file_name"] for each in content["images"][:count]}
    (folder / "photos").mkdir()
    for name in names.values():
        shutil.copy(flickr8k / "images" / "train" / name, folder / "photos" / name)
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "caption"])
        rows = [each for each in content["annotations"] if each["image_id"] in names]
        table.writerows([names[each["image_id"]], each["caption"]] for each in rows)


def commands(weights: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields each command with its arguments, in the order of use."""
    options = {**OPTIONS, "/encoder/weights": str(weights)}
    flags = [flag for place, value in options.items() for flag in ("--set", f"{place}={json.dumps(value)}")]
    named = ["--images", "photos", "--captions", "captions.csv", "--encoder", "timm", "--decoder", "gpt2"]
    yield "init", ["init", *named, *flags]
    yield "validate", ["validate", "spec.json"]
    yield "run", ["run", "spec.json"]
    yield "caption", ["caption", "photos", "--run", "runs/spec"]


def stages(log: Path, seconds: float) -> Iterator[tuple[str, float]]:
    """Yields the seconds of each stage of the run; the rest is the start: Python, imports, building."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    spent: dict[str, float] = {}
    for before, after in itertools.pairwise(entries):
        stage = _stage(after)
        spent[stage] = spent.get(stage, 0.0) + after["time"] - before["time"]
    yield "start", seconds - sum(spent.values())
    yield from spent.items()


def _stage(entry: dict[str, object]) -> str:
    """Returns the stage that ends with this entry of the log."""
    if entry["event"] == "stage_ended":
        return str(entry["stage"]).split()[0]
    return {"step": "train", "evaluated": "score", "epoch": "train"}.get(str(entry["event"]), "other")


def main() -> None:
    """Prints the seconds of each command, and of the stages of the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flickr8k", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    print(f"{asked.threads} threads, load {os.getloadavg()[0]:.1f}")
    total = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(asked.flickr8k, folder, asked.photos)
        for command, arguments in commands(asked.weights.resolve()):
            started = time.perf_counter()
            environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads)}
            done = subprocess.run(
                [*CAPFW, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            seconds = time.perf_counter() - started
            if done.returncode:
                sys.exit(f"capfw {command} failed\n{done.stdout}{done.stderr}")
            total += seconds
            print(f"capfw {command:<9} {seconds:6.1f} s", flush=True)
            if command == "run":
                for stage, part in stages(folder / "runs" / "spec" / "log.jsonl", seconds):
                    print(f"  {stage:<13} {part:6.1f} s")
        captions = done.stdout.splitlines()
        print(
            f"{'together':<15} {total:6.1f} s; {len(captions)} captions, the first: {captions[0].partition(chr(9))[2]}"
        )


if __name__ == "__main__":
    main()
