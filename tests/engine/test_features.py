"""The feature store: streaming, resuming, bad images, and never a stale row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from capfw import CapfwError, RunSpec, load_spec, run
from capfw.core.engine.build import build_encoder
from capfw.core.engine.inputs.extraction import Extraction
from capfw.core.engine.inputs.features import FeatureStore, StoredFeatures
from capfw.core.engine.opening import Run, opened
from capfw.core.engine.run_directory import RunDirectory
from capfw.core.errors import PluginError, UnreadableImage
from capfw.core.protocols import Encoder, FeatureShape, FileSource, MemorySource, Progress, Sample, hookimpl, open_image
from capfw.core.registry import Registry

Write = Callable[..., Path]
CPU = torch.device("cpu")


def _photos(folder: Path, count: int) -> list[Sample]:
    folder.mkdir(exist_ok=True)
    samples = []
    for number in range(count):
        file = folder / f"{number}.png"
        Image.new("RGB", (12, 12), (number % 256, 7 * number % 256, number // 256)).save(file)
        samples.append(Sample(number, FileSource(file), ("a plain square",), file.name))
    return samples


class Watcher:
    """An observer that keeps the progress of stages."""

    def __init__(self) -> None:
        self.done: list[int] = []

    @hookimpl
    def progressed(self, event: Progress) -> None:
        self.done.append(event.done)


@contextmanager
def _opened(spec: RunSpec, registry: Registry, watcher: Watcher) -> Iterator[tuple[Run, Encoder, FeatureStore]]:
    with opened(spec, registry, RunDirectory(spec.run_dir), lambda _: [watcher]) as opened_run:
        encoder = build_encoder(spec)
        yield (
            opened_run,
            encoder,
            FeatureStore.open(
                spec.features, spec.encoder, encoder, encoder.fingerprint(), opened_run.code["encoder vit"]
            ),
        )


def _extract(spec_file: Path, registry: Registry, samples: list[Sample]) -> tuple[StoredFeatures, int, list[int]]:
    watcher = Watcher()
    with _opened(load_spec(spec_file, registry=registry), registry, watcher) as (opened_run, encoder, store):
        extraction = Extraction(opened_run, store, encoder)
        return extraction.perform(samples, "extract"), extraction.num_encoded, watcher.done


def _gathered(features: StoredFeatures, places: Sequence[int]) -> torch.Tensor:
    return next(features.gather([places]))


def test_an_unchanged_image_is_encoded_once_and_a_changed_one_again(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    samples = _photos(tmp_path / "photos", 5)
    first, num_encoded, _ = _extract(tiny(), registry, samples)
    assert num_encoded == 5
    assert _extract(tiny(), registry, samples)[1:] == (0, [])
    Image.new("RGB", (12, 12), "red").save(tmp_path / "photos/3.png")
    third, num_encoded, _ = _extract(tiny(), registry, samples)
    assert num_encoded == 1
    assert not torch.equal(_gathered(third, [3]), _gathered(first, [3]))
    assert torch.equal(_gathered(third, [2]), _gathered(first, [2]))


def test_another_encoder_has_another_store(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    samples = _photos(tmp_path / "photos", 3)
    _extract(tiny(), registry, samples)
    file = tiny(seed=7)  # other random weights
    assert _extract(file, registry, samples)[1] == 3


def test_one_bad_image_among_a_hundred_is_skipped_and_named(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    samples = _photos(tmp_path / "photos", 100)
    whole = (tmp_path / "photos/41.png").read_bytes()
    (tmp_path / "photos/41.png").write_bytes(whole[: len(whole) // 2])
    captions = {
        "images": [{"id": s.image_id, "file_name": s.file_name} for s in samples],
        "annotations": [{"image_id": s.image_id, "caption": s.references[0]} for s in samples],
    }
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    data = {"name": "coco", "train": {"images": "photos", "captions": "captions.json"}}
    spec = load_spec(tiny(data=data), registry=registry)
    run(spec, registry=registry, until="extract")
    recorded = json.loads((spec.run_dir / "environment.json").read_text())["features"]
    assert recorded["num_unreadable"] == 1
    assert list(recorded["unreadable"]["train"]) == ["41"]
    assert "image 41 is skipped" in (spec.run_dir / "log.jsonl").read_text()

    failing = load_spec(tiny(data=data, features={"on_bad_image": "fail"}, run_dir="other/run"), registry=registry)
    with pytest.raises(CapfwError, match=r"41\.png"):
        run(failing, registry=registry, until="extract")


def test_a_store_of_pooled_features_is_small(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, FeatureShape(1, 1024), torch.float16)
    for start in range(0, 7500, 750):
        store.write([f"{n:064x}" for n in range(start, start + 750)], torch.rand(750, 1, 1024), {})
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 20e6


def test_two_runs_at_work_in_one_store_lose_no_rows(tmp_path: Path) -> None:
    digests = [f"{n:064x}" for n in range(6)]
    for wanted in (digests, digests[:3], digests[::-1]):  # each began before the others had written anything
        FeatureStore(tmp_path, FeatureShape(1, 1), torch.float32).write(
            wanted, torch.tensor([[[float(int(d, 16))]] for d in wanted]), {}
        )
        store = FeatureStore(tmp_path, FeatureShape(1, 1), torch.float32)
        samples = [Sample(n, MemorySource(b""), ()) for n in range(6)]
        features = StoredFeatures(store, samples, digests, CPU)
        assert _gathered(features, range(6)).flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_features_that_overflow_float16_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, FeatureShape(1, 2), torch.float16)
    with pytest.raises(CapfwError, match="/features/dtype"):
        store.write(["a"], torch.full((1, 1, 2), 1e6), {})


def test_memory_mapped_rows_equal_rows_in_memory(
    tiny: Write, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = _photos(tmp_path / "photos", 20)
    in_memory = _extract(tiny(), registry, samples)[0]

    class Full:
        available = 0

    monkeypatch.setattr("psutil.virtual_memory", lambda: Full)
    mapped = _extract(tiny(), registry, samples)[0]
    places = [19, 0, 7, 7]
    assert (in_memory.is_in_memory, mapped.is_in_memory) == (True, False)
    assert torch.equal(_gathered(mapped, places), _gathered(in_memory, places))


MEASURE = """
import resource, sys, torch
from pathlib import Path
from capfw import load_spec, run
torch.set_num_threads(1)
run(load_spec(Path(sys.argv[1])), until="extract")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_images(tiny: Write, tmp_path: Path) -> None:
    """Peak memory of extracting n and 4n images. All pixels of 4n images (192 x 192) would take 250 MB more."""
    peaks = []
    architecture = {"image_size": 192, "patch_size": 96, "width": 16, "num_layers": 1, "num_heads": 2}
    encoder = {"name": "vit", "weights": "random", "features": "tokens", "architecture": architecture}
    for count in (200, 800):
        data = {"name": "shapes", "num_train": count, "num_val": 4, "num_test": 4, "image_size": 32}
        file = tiny(f"{count}.json", data=data, encoder=encoder, run_dir=f"m{count}/run")
        result = subprocess.run(
            [sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, check=True, env={**os.environ}
        )
        peaks.append(int(result.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 60, peaks


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1", "LA"])
def test_images_of_every_mode_become_rgb(mode: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    Image.new(mode, (3, 2)).save(file)
    image = open_image(file.read_bytes(), name="a")
    assert (image.mode, image.size) == ("RGB", (3, 2))


@pytest.mark.parametrize(
    ("mode", "values"),
    [("I;16", [0, 32768, 65535]), ("I", [0, 32768, 65535]), ("F", [0.0, 0.5, 1.0]), ("F", [0.0, 128.0, 255.0])],
)
def test_images_of_sixteen_and_more_bits_keep_their_greys(mode: str, values: list[float], tmp_path: Path) -> None:
    image = Image.new(mode, (3, 1))
    for column, value in enumerate(values):
        image.putpixel((column, 0), value)
    image.save(tmp_path / "a.tif")
    opened = open_image((tmp_path / "a.tif").read_bytes())
    assert [opened.getpixel((column, 0)) for column in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


def test_orientation_tags_are_obeyed(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "a.jpg", exif=exif)
    assert open_image((tmp_path / "a.jpg").read_bytes(), name="a").size == (2, 4)


def test_what_is_not_an_image_is_named() -> None:
    with pytest.raises(UnreadableImage, match="holiday"):
        open_image(b"not an image", name="holiday.jpg")


def test_an_encoder_that_emits_another_shape_than_it_says_is_named(
    tiny: Write, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(tiny(), registry=registry)
    with _opened(spec, registry, Watcher()) as (opened_run, encoder, store):
        encode = encoder.encode
        monkeypatch.setattr(encoder, "encode", lambda pixels: encode(pixels)[..., :5])
        with pytest.raises(
            PluginError, match=r"VitEncoder returned features \(3, 4, 5\) for 3 .* declares \(3, 4, 16\)"
        ):
            Extraction(opened_run, store, encoder).perform(_photos(tmp_path / "photos", 3), "extract")
    assert not list(store.folder.glob("shard-*"))
