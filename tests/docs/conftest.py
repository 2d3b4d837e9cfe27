"""A folder with what the pages promise their reader: a finished small quickstart, photos, captions, a spec of one's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from capfw import load_part, load_spec, run
from capfw.core.conformance.surroundings import one_thread
from capfw.core.protocols import Sample
from capfw.core.registry import Registry

from .foreign import write_foreign_files

ROOT = Path(__file__).resolve().parents[2]
SMALL_ARCHITECTURE = {"image_size": 32, "patch_size": 16, "width": 16, "num_layers": 1, "num_heads": 2}


def _quickstart() -> dict[str, object]:
    """The quickstart, made small in size alone."""
    spec = json.loads((ROOT / "examples/quickstart.json").read_text(encoding="utf-8"))
    spec["data"] |= {"num_train": 24, "num_val": 6, "num_test": 6}
    spec["features"] |= {"num_workers": 0}
    spec["encoder"]["architecture"] = SMALL_ARCHITECTURE
    spec["mapper"] |= {"num_layers": 1}
    spec["decoder"] |= {"num_layers": 1, "width": 32}
    spec["train"] |= {"epochs": 2, "evaluate_every_epochs": 1}
    return spec


def _own_spec() -> dict[str, object]:
    """A spec on the photos of the folder, as the README has its reader write one."""
    splits = {split: {"images": f"images/{split}", "captions": f"captions_{split}.json"} for split in ("train", "val")}
    return {
        **_quickstart(),
        "description": "Photos of one's own.",
        "data": {"name": "coco", **splits},
        "run_dir": "runs/own",
    }


def _write_photos(folder: Path) -> None:
    """Photos (drawn), and the same in splits with captions in COCO's format, numbered from 1."""
    drawn = load_part("dataset", {"name": "shapes", "num_train": 8, "num_val": 4, "num_test": 4}).build()
    number = 0
    for split, samples in (("val", drawn.samples("val")), ("train", drawn.samples("train"))):
        (folder / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for sample in samples:
            number += 1
            (folder / "images" / split / f"{number}.png").write_bytes(sample.source.read())
            images.append({"id": number, "file_name": f"{number}.png"})
            annotations += [{"image_id": number, "caption": text} for text in sample.references]
        captions = {"images": images, "annotations": annotations}
        (folder / f"captions_{split}.json").write_text(json.dumps(captions), encoding="utf-8")
    shutil.copytree(folder / "images/val", folder / "photos")
    shutil.copy(folder / "captions_val.json", folder / "captions.json")
    photos = dict(enumerate(drawn.samples("val"), start=1))
    table = [f'{number}.png,"{text}"' for number, photo in photos.items() for text in photo.references]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *table]), encoding="utf-8")
    candidates = [{"image_id": number, "caption": "a red circle above a blue square"} for number in photos]
    (folder / "candidates.json").write_text(json.dumps(candidates), encoding="utf-8")
    _write_tables_of_another_system(folder, photos)


def _write_tables_of_another_system(folder: Path, photos: Mapping[int, Sample]) -> None:
    """Writes candidates in a table, and the same references in a table and in Karpathy's format."""
    made = [f"{number}.png,a red circle above a blue square" for number in photos]
    (folder / "candidates.csv").write_text("\n".join(["file,prediction", *made]), encoding="utf-8")
    (folder / "made.csv").write_text("\n".join(["file,caption", *made]), encoding="utf-8")
    known = [f"{number}.png\t{text}" for number, photo in photos.items() for text in photo.references]
    (folder / "captions.tsv").write_text("\n".join(["file\tcaption", *known]), encoding="utf-8")
    images = [
        {"imgid": n, "filename": f"{n}.png", "split": "test", "sentences": [{"raw": text} for text in photo.references]}
        for n, photo in photos.items()
    ]
    (folder / "dataset_flickr8k.json").write_text(json.dumps({"images": images}), encoding="utf-8")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared folder, made once. Use a copy: `folder`."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "examples").mkdir()
    for file in (ROOT / "examples").glob("*.*"):
        shutil.copy(file, folder / "examples")
    shutil.copytree(ROOT / "examples/sweeps", folder / "examples/sweeps")
    (folder / "examples/quickstart.json").write_text(json.dumps(_quickstart()), encoding="utf-8")
    (folder / "spec.json").write_text(json.dumps(_own_spec()), encoding="utf-8")
    _write_photos(folder)
    write_foreign_files(folder)
    with one_thread():
        run(load_spec(folder / "examples/quickstart.json"))
    return folder


@pytest.fixture
def folder(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the prepared folder, and the working directory."""
    copied = tmp_path / "folder"
    shutil.copytree(workshop, copied)
    monkeypatch.chdir(copied)
    with one_thread():
        yield copied


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Everything installed."""
    return Registry.discover()
