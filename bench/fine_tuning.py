"""Measures what fine-tuning gains over training from scratch, on Flickr8k in two domains.

python bench/fine_tuning.py --data FOLDER [--output FOLDER]

FOLDER holds `flickr8k/` (images/SPLIT/NAME.jpg, annotations/captions_SPLIT.json) and `mobilenet_v1/model.safetensors`.

The rule: a photo is of a dog if at least three of its references have one of the words dog, dogs, puppy, puppies. A photo of
which one or two references have such a word belongs to neither domain. "Own photos" are those of dogs: the first 500 or
100 of the training split to train, 100 of the val split to choose, and all of the test split, filled up from the val split
to 200, to report. The source run trains on the photos of whose references none has such a word. The 1,002 photos of dogs
behind the first 500 of the training split, which no run reads, are a second and larger test.

Both systems have the same choices: four peak learning rates, and 25 epochs (60 of 100 photos), of which the best by CIDEr on
the own val photos is kept. Only the choice with the best val CIDEr is scored on test photos. A third system is fine-tuned
with the settings that `capfw init --from` writes. Interrupted, the same command continues.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from capfw import compare as compare_systems
from capfw import evaluate_run, load_spec, run
from capfw.core.authoring import from_run

WORDS = {"dog", "dogs", "puppy", "puppies"}
RATES = (3e-3, 1e-3, 3e-4, 1e-4)
EPOCHS = {500: 25, 100: 60}  # by the number of own training photos
SOURCE_RATE = 1e-3
NUM_VAL, NUM_TEST = 100, 200
GPT2 = {"num_layers": 3, "width": 256, "num_heads": 4, "max_positions": 64}


@dataclass(frozen=True)
class Photo:
    """A photo of Flickr8k: its id, its file below images/, and its references."""

    image_id: int
    file_name: str
    references: tuple[str, ...]

    @property
    def num_mentions(self) -> int:
        """The number of references with a word of the domain."""
        return sum(bool(WORDS & set(re.findall("[a-z]+", text.lower()))) for text in self.references)


def read_photos(flickr8k: Path) -> dict[str, list[Photo]]:
    """Returns the photos of each split, by id."""
    found = {}
    for split in ("train", "val", "test"):
        content = json.loads((flickr8k / f"annotations/captions_{split}.json").read_text())
        references = defaultdict(list)
        for each in content["annotations"]:
            references[each["image_id"]].append(each["caption"])
        photos = [Photo(i["id"], f"{split}/{i['file_name']}", tuple(references[i["id"]])) for i in content["images"]]
        found[split] = sorted(photos, key=lambda photo: photo.image_id)
    return found


def divide(photos: Mapping[str, Sequence[Photo]], num_train: int) -> dict[str, dict[str, list[Photo]]]:
    """Divides the photos into those of the source run, one's own, and further ones to test on, each by split."""
    source = {split: [p for p in each if p.num_mentions == 0] for split, each in photos.items()}
    dogs = {split: [p for p in each if p.num_mentions >= 3] for split, each in photos.items()}
    own = {"train": dogs["train"][:num_train], "val": dogs["val"][:NUM_VAL]}
    own["test"] = [*dogs["test"], *dogs["val"][NUM_VAL:]][:NUM_TEST]
    return {"source": source, "own": own, "further": {"test": dogs["train"][max(EPOCHS) :]}}


def write_data(photos: Mapping[str, Sequence[Photo]], images: Path, folder: Path) -> dict[str, Any]:
    """Writes a captions file per split; returns the section /data."""
    folder.mkdir(parents=True, exist_ok=True)
    section: dict[str, Any] = {"name": "coco"}
    for split, each in photos.items():
        annotations = [
            {"id": 5 * photo.image_id + place, "image_id": photo.image_id, "caption": text}
            for photo in each
            for place, text in enumerate(photo.references)
        ]
        listed = [{"id": photo.image_id, "file_name": photo.file_name} for photo in each]
        file = folder / f"{split}.json"
        file.write_text(json.dumps({"images": listed, "annotations": annotations}))
        section[split] = {"images": str(images), "captions": str(file)}
    return section


class Bench:
    """The runs for one number of own photos. All share a folder, the source run and a store of features."""

    def __init__(self, data: Path, output: Path, num_train: int) -> None:
        self.data, self.output, self.num_train = data.resolve(), output.resolve(), num_train
        photos = read_photos(self.data / "flickr8k")
        images = self.data / "flickr8k/images"
        parts = divide(photos, num_train)
        self.counts = {name: {split: len(each) for split, each in part.items()} for name, part in parts.items()}
        folders = {"source": "source", "own": f"own-{num_train}", "further": "further"}
        self.sections = {
            name: write_data(part, images, self.output / "data" / folders[name]) for name, part in parts.items()
        }

    def spec(self, name: str, data: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a spec like examples/flickr8k.json."""
        return {
            "capfw": 1,
            "data": data,
            "features": {"standardize": True, "store": str(self.output / "features"), "num_workers": 0},
            "encoder": {
                "name": "timm",
                "model": "mobilenetv1_100",
                "weights": str(self.data / "mobilenet_v1/model.safetensors"),
                "model_args": {"pad_type": "same", "bn_eps": 0.001},
                "image_size": 224,
                "resize_mode": "squash",
                "mean": [0.5, 0.5, 0.5],
                "std": [0.5, 0.5, 0.5],
            },
            "mapper": {"name": "mlp", "prefix_length": 4},
            "decoder": {
                "name": "gpt2",
                "weights": "random",
                "tokenizer": "from-captions",
                "vocabulary_unit": "subwords",  # the source run never reads "dog", and must be able to spell it
                "vocabulary_size": 3500,
                **GPT2,
            },
            "train": {"batch_size": 128, "max_caption_tokens": 40, **train},
            "generate": {"method": "beam", "num_beams": 3, "max_tokens": 30},
            "metrics": [{"name": "cider"}],
            "run_dir": str(self.output / name),
        }

    def source(self) -> tuple[Path, float]:
        """Trains the source run; returns its directory, and the seconds of this call."""
        started = time.perf_counter()
        train = {"epochs": 5, "lr": SOURCE_RATE, "warmup_steps": 200}
        run_dir = run(load_spec(self.spec("source", self.sections["source"], train))).run_dir
        return run_dir, time.perf_counter() - started

    def tuned(self, name: str, train: Mapping[str, Any], begin_with: Path | None) -> tuple[float, Path]:
        """Trains on the own photos; returns the val CIDEr of the best epoch, and the run directory."""
        settings = {**train, **({"from": str(begin_with)} if begin_with else {})}
        started = time.perf_counter()
        run_dir = run(
            load_spec(self.spec(f"{name}-{self.num_train}", self.sections["own"], settings)), until="train"
        ).run_dir
        seconds = time.perf_counter() - started
        value = evaluate_run(run_dir, "val").scores["CIDEr"]
        print(f"{self.num_train} photos: {name}: val CIDEr {value:.3f}, {seconds:.0f} s in this call", flush=True)
        return value, run_dir

    def chosen(self, name: str, begin_with: Path | None) -> Path:
        """Trains with every rate; returns the run directory of the best by val CIDEr."""
        trained = [
            self.tuned(
                f"{name}-{rate:g}", {"epochs": EPOCHS[self.num_train], "lr": rate, "warmup_steps": 20}, begin_with
            )
            for rate in RATES
        ]
        _, best = max(trained, key=lambda each: each[0])
        print(f"{self.num_train} photos: {name}: chosen by val CIDEr: {best.name}", flush=True)
        return best

    def evaluate(self, run_dir: Path, photos: str) -> Path:
        """Scores a run on the test photos of "own" or "further"; returns the folder of the results."""
        output = self.output / "scores" / photos / f"{run_dir.name}-of-{self.num_train}"
        found = evaluate_run(run_dir, "test", overrides={"/data": self.sections[photos]}, output=output)
        print(
            f"{self.num_train} photos: {photos} test photos: {run_dir.name}: CIDEr {found.scores['CIDEr']:.3f}",
            flush=True,
        )
        return output


def compare(bench: Bench) -> None:
    """Runs everything, and prints scores and differences."""
    source, seconds = bench.source()
    print(f"source run: {seconds:.0f} s in this call", flush=True)
    settings = {"epochs": from_run.EPOCHS, "lr": float(f"{from_run.LR_SHARE * SOURCE_RATE:.2g}")}
    systems = {
        "fine-tuned": bench.chosen("fine-tuned", source),
        "fine-tuned as init writes it": bench.tuned("as-init", settings, source)[1],
        "from scratch": bench.chosen("from-scratch", None),
        "source run": source,
    }
    pairs = [*product(list(systems)[:2], list(systems)[2:]), tuple(systems)[:2]]
    for photos in ("own", "further"):
        heading = f"{bench.num_train} photos: {photos} test photos"
        folders = {name: bench.evaluate(run_dir, photos) for name, run_dir in systems.items()}
        for first, second in pairs:
            found = compare_systems([folders[second], folders[first]], num_resamples=10_000)
            [each] = found.differences
            interval = f"95 % interval {each.interval.low:+.3f} to {each.interval.high:+.3f}"
            print(f"{heading}: {first} minus {second}: {each.value:+.3f}, {interval}, p {each.p:.4f}", flush=True)


def main() -> None:
    """Measures with one thread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/fine-tuning"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for num_train in EPOCHS:
        bench = Bench(arguments.data, arguments.output, num_train)
        print(f"images: {bench.counts}", flush=True)
        compare(bench)


if __name__ == "__main__":
    main()
