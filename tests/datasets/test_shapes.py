"""Data set "shapes": what is drawn is what is told, held-out combinations are held out, and a seed decides it all."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from pycocoevalcap.cider.cider import Cider

from capfw.core.protocols import Dataset, MemorySource, Sample
from capfw.plugins.datasets.shapes import ShapesConfig
from capfw.plugins.datasets.shapes.model import ShapesDataset

# Hues in degrees (0 red, 120 green, 240 blue); what is white has none.
HUES = {"red": 0, "yellow": 54, "green": 128, "blue": 228, "purple": 287}
THING = re.compile(r"a (small|large) (\w+) (\w+)")


@pytest.fixture(scope="module")
def dataset() -> ShapesDataset:
    return ShapesDataset(ShapesConfig())


def opened(sample: Sample) -> Image.Image:
    assert isinstance(sample.source, MemorySource)
    return Image.open(io.BytesIO(sample.source.read())).convert("RGB")


def bright_columns_and_rows(image: Image.Image, hue: int | None) -> list[tuple[int, int]]:
    """(column, row) of the pixels that are neither background nor edge, of one hue (within 15 degrees) or white."""
    pixels = image.convert("HSV").load()
    assert pixels is not None
    return [
        (x, y)
        for x in range(image.width)
        for y in range(image.height)
        for h, s, v in [pixels[x, y]]
        if v > 120 and ((s < 40) if hue is None else (s > 100 and abs((h * 360 / 255 - hue + 180) % 360 - 180) < 15))
    ]


def told(sample: Sample) -> str:
    """Names a scene without how its things stand to one another: by its things, or by its thing and the place."""
    things = sorted(THING.findall(sample.references[0]))
    return str(things) if len(things) == 2 else sample.references[0]


def test_splits_counts_and_sizes(dataset: ShapesDataset) -> None:
    assert isinstance(dataset, Dataset)
    assert {split: len(dataset.samples(split)) for split in dataset.splits} == {"train": 2000, "val": 100, "test": 200}
    samples = [sample for split in dataset.splits for sample in dataset.samples(split)]
    assert len({sample.image_id for sample in samples}) == 2300
    assert len({sample.source for sample in samples}) == 2300
    assert opened(samples[0]).size == (64, 64)
    small = ShapesDataset(ShapesConfig(num_train=1, num_val=0, num_test=0, image_size=48))
    assert small.splits == ("train",)
    assert opened(small.samples("train")[0]).size == (48, 48)


def test_every_image_has_five_different_references(dataset: ShapesDataset) -> None:
    for sample in dataset.samples("train"):
        assert len(set(sample.references)) == 5
        assert all(re.fullmatch(r"[a-z]+( [a-z]+)+", reference) for reference in sample.references)


def test_colours_sizes_and_places_are_as_told(dataset: ShapesDataset) -> None:
    for sample in dataset.samples("test"):
        things = THING.findall(sample.references[0])
        if len({colour for _, colour, _ in things}) < len(things):
            continue  # two things of one colour cannot be told apart by it
        image = opened(sample)
        centres = []
        for size, colour, _ in things:
            pixels = bright_columns_and_rows(image, HUES.get(colour))
            columns, rows = [x for x, _ in pixels], [y for _, y in pixels]
            width = (max(columns) - min(columns) + 1) / image.width
            assert (width > 0.3) == (size == "large"), sample.references[0]
            centres.append(((max(columns) + min(columns)) / 2, (max(rows) + min(rows)) / 2))
        first, second = centres[0], centres[-1]
        match re.search(r"left of|above|top left|top right|bottom left|bottom right|middle", sample.references[0]):
            case None:
                pytest.fail(sample.references[0])
            case found:
                x, y = first
                assert {
                    "left of": first[0] < second[0] and abs(first[1] - second[1]) < second[0] - first[0],
                    "above": first[1] < second[1] and abs(first[0] - second[0]) < second[1] - first[1],
                    "top left": x < 24 and y < 24,
                    "top right": x > 40 and y < 24,
                    "bottom left": x < 24 and y > 40,
                    "bottom right": x > 40 and y > 40,
                    "middle": 24 < x < 40 and 24 < y < 40,
                }[found.group()], sample.references[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_held_out_combinations_are_new_but_their_words_are_not(seed: int) -> None:
    dataset = ShapesDataset(ShapesConfig(seed=seed))
    seen = {split: {told(sample) for sample in dataset.samples(split)} for split in dataset.splits}
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    words, things = (
        {
            split: {found for s in dataset.samples(split) for r in s.references for found in pattern.findall(r)}
            for split in dataset.splits
        }
        for pattern in (re.compile(r"\w+"), THING)
    )
    assert words["test"] | words["val"] <= words["train"]
    assert things["test"] | things["val"] <= things["train"]


def test_a_seed_decides_and_more_images_change_nothing_before_them() -> None:
    few = ShapesDataset(ShapesConfig(num_train=20, num_val=5, num_test=5))
    more = ShapesDataset(ShapesConfig(num_train=30, num_val=8, num_test=9))
    for split in few.splits:
        assert list(more.samples(split))[: len(few.samples(split))] == list(few.samples(split))
    other = ShapesDataset(ShapesConfig(seed=1, num_train=20, num_val=5, num_test=5))
    assert [s.references for s in other.samples("train")] != [s.references for s in few.samples("train")]


def test_cider_tells_right_captions_from_wrong_ones(dataset: ShapesDataset) -> None:
    samples = dataset.samples("test")
    rest = {sample.image_id: list(sample.references[1:]) for sample in samples}
    own = {sample.image_id: [sample.references[0]] for sample in samples}
    others = {s.image_id: [samples[i - 1].references[0]] for i, s in enumerate(samples)}
    assert Cider().compute_score(rest, own)[0] > 7
    assert Cider().compute_score(rest, others)[0] < 1.5
