"""`capfw caption --output FILE`: its four formats, and what an interruption leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from capfw import Captioner
from capfw.core.captions import read_captions
from capfw.core.engine.caption_files import CaptionsFile
from capfw.core.engine.captioning import Row
from capfw.core.engine.generate import Caption
from capfw.core.registry import Registry

Capfw = Callable[..., Result]


@pytest.fixture
def write(capfw: Capfw, trained: Path) -> Callable[..., Result]:
    """Captions images into a file."""
    return lambda file, *arguments: capfw("caption", *arguments, "--run", trained, "--output", file, "--device", "cpu")


def test_the_ending_gives_the_format(
    write: Callable[..., Result], captioner: Captioner, photos: Path, tmp_path: Path
) -> None:
    files = sorted(photos.iterdir())
    texts = [made[0].text for made in captioner.caption(files)]
    (photos / "bad.png").write_bytes(b"")
    for ending in ("txt", "csv", "jsonl", "json"):
        result = write(tmp_path / f"out.{ending}", photos)
        assert (result.exit_code, result.stdout) == (1, f"Captions: {tmp_path / f'out.{ending}'}\n")
    assert sorted(file.name for file in tmp_path.glob("out*")) == ["out.csv", "out.json", "out.jsonl", "out.txt"]

    assert (tmp_path / "out.txt").read_text() == "".join(
        f"{file}\t{text}\n" for file, text in zip(files, texts, strict=True)
    )
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as opened:
        table = list(csv.DictReader(opened))
    assert [row["caption"] for row in table] == [*texts, ""]
    assert [float(row["log_prob"]) < 0 for row in table[:3]] == [True] * 3
    assert table[3]["file"] == str(photos / "bad.png")
    assert table[3]["error"].startswith("cannot decode the image")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["captions"][0]["caption"] for row in rows[:3]] == texts
    assert rows[3]["error"].startswith("cannot decode the image")
    assert [each["caption"] for each in json.loads((tmp_path / "out.json").read_text())] == texts
    registry = Registry.discover()
    for ending in ("csv", "jsonl", "json"):
        made = read_captions(tmp_path / f"out.{ending}", registry)
        assert list(made.best().values()) == texts


def test_images_with_numbers_as_names_have_them_as_ids(
    write: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    (photos / "3.png").rename(photos / "COCO_val2014_000000000042.png")
    write(tmp_path / "numbers.json", photos)
    assert set(read_captions(tmp_path / "numbers.json", Registry.discover()).images) == {1, 2, 42}
    Image.new("RGB", (9, 9)).save(photos / "dog_4.png")
    write(tmp_path / "names.json", photos)
    assert str(photos / "1.png") in read_captions(tmp_path / "names.json", Registry.discover()).images


def test_several_captions_are_rows_of_a_table_and_others_in_json(
    write: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    options = ("-n", "2", "--set", "/generate/method=nucleus")
    write(tmp_path / "out.csv", photos, *options)
    write(tmp_path / "out.json", photos, *options)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as opened:
        table = [row["caption"] for row in csv.DictReader(opened)]
    candidates = json.loads((tmp_path / "out.json").read_text())
    assert table == [text for each in candidates for text in (each["caption"], each["others"][0]["caption"])]


def test_an_existing_file_is_kept_without_force(write: Callable[..., Result], photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("mine")
    refused = write(file, photos)
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert refused.stderr == f"{file}: this file exists already.\n  Name another, or add --force.\n"
    assert write(file, photos, "--force").exit_code == 0
    assert file.read_text().startswith("file,caption,log_prob,error\n")
    (tmp_path / "folder.csv").mkdir()
    folder = write(tmp_path / "folder.csv", photos, "--force")
    assert (folder.exit_code, "this is a folder." in folder.stderr) == (2, True)


def test_an_interrupted_call_goes_on_where_it_stopped(
    write: Callable[..., Result], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "whole.csv", photos)
    stream = Captioner.stream

    def stopping(self: Captioner, sources: Iterator[object], *options: object) -> Iterator[object]:
        for number, each in enumerate(stream(self, sources, *options)):
            if number == 2:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(Captioner, "stream", stopping)
    file, part = tmp_path / "out.csv", tmp_path / "out.csv.part"
    stopped = write(file, photos)
    assert stopped.exit_code == 1
    assert f"Stopped after 2 of 3 images. The same command continues {part}." in stopped.stderr
    assert not file.exists()
    with part.open("a") as opened:
        opened.write('{"file": "torn')  # a line that was not written whole
    monkeypatch.setattr(Captioner, "stream", stream)

    other = write(file, photos, "--set", "/generate/max_tokens=3")
    assert (other.exit_code, file.exists()) == (2, False)
    assert f"{part}: it holds captions of another run, checkpoint or options." in other.stderr
    assert "Delete it, or add --force to begin again." in other.stderr
    resumed = write(file, photos)

    assert resumed.exit_code == 0
    assert f"Continuing: 2 of 3 images are in {part}." in resumed.stderr
    assert resumed.stderr.endswith("captioned 3 images\n")
    assert file.read_text() == (tmp_path / "whole.csv").read_text()
    assert not part.exists()


def test_captions_of_images_that_are_not_asked_for_stay_out(tmp_path: Path) -> None:
    file = CaptionsFile(tmp_path / "out.txt", {"run": "a"})
    for name in ("1.png", "2.png"):
        file.add(Row(name, (Caption(f"caption of {name}", -1.0),)))
    file.close()
    again = CaptionsFile(tmp_path / "out.txt", {"run": "a"})
    assert again.done == {"1.png": None, "2.png": None}
    again.add(Row("3.png", error="cannot be read"))
    again.finish(["2.png", "3.png"])
    assert (tmp_path / "out.txt").read_text() == "2.png\tcaption of 2.png\n"


def test_no_caption_at_all_is_an_empty_list(tmp_path: Path) -> None:
    file = CaptionsFile(tmp_path / "out.json", {})
    file.add(Row("1.png", error="cannot be read"))
    file.finish(["1.png"])
    assert json.loads((tmp_path / "out.json").read_text()) == []
