"""The database of exporter "lightly", as LightlyStudio itself reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from capfw.core.protocols import CaptionedImage, CaptionedSplit, DataError, FileSource, MemorySource, Source
from capfw.plugins.exporters.lightly import LightlyConfig

Make = Callable[..., CaptionedSplit]


@pytest.fixture
def exporter() -> Iterator[Any]:
    pytest.importorskip("lightly_studio", reason='needs LightlyStudio: pip install "capfw[lightly]"')
    from capfw.plugins.exporters.lightly.model import LightlyExporter

    return LightlyExporter(LightlyConfig())


def split_of(*sources: Source) -> CaptionedSplit:
    images = [
        CaptionedImage(i, (f"caption {i}", "another"), (-1.5, -2.0), ("one", "two"), {"CIDEr": i / 4}, source)
        for i, source in enumerate(sources)
    ]
    return CaptionedSplit("a-run", "test", 20, {"CIDEr": 0.5}, images, {})


def test_database_has_captions_scores_and_references(exporter: Any, tmp_path: Path) -> None:
    import lightly_studio
    from lightly_studio import db_manager

    names = ["plain.png", "odd [1] *.png"]
    for name in names:
        Image.new("RGB", (32, 24), "red").save(tmp_path / name)
    Image.new("RGB", (32, 24), "blue").save(tmp_path / "of no sample.png")
    hint = exporter.export(split_of(*(FileSource(tmp_path / name) for name in names)), tmp_path / "out.db")

    assert hint == "opens with: lightly-studio gui --db-file FILE"
    db_manager.connect(db_file=str(tmp_path / "out.db"))
    try:
        samples = {s.file_name: s for s in lightly_studio.ImageDataset.load(name="a-run test")}
        assert set(samples) == set(names)
        for i, name in enumerate(names):
            found = samples[name]
            assert list(found.captions) == [f"caption {i}"]
            assert (found.metadata["CIDEr"], found.metadata["log_prob"]) == (i / 4, -1.5)
            assert (found.metadata["image_id"], found.metadata["references"]) == (str(i), ["one", "two"])
    finally:
        db_manager.close()


def test_images_in_memory_and_damaged_files_are_named(exporter: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 images are no files: drawn.*") as caught:
        exporter.export(split_of(MemorySource(b"", "drawn")), tmp_path / "out.db")
    assert caught.value.fix == "Export to csv or parquet, or give the run a data set of files."
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"reads no image at .*bad\.png\."):
        exporter.export(split_of(FileSource(tmp_path / "bad.png")), tmp_path / "other.db")
