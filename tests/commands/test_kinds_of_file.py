"""A folder of all kinds of file: every file is captioned or named, and none is captioned twice."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from capfw import Captioner
from capfw.core.engine.inputs.finding import find_images
from capfw.core.errors import UnreadableImage
from capfw.core.protocols import open_image
from capfw.core.protocols.images import SUFFIXES, format_of

from .kinds import CAPTIONED, HEIC, images, make

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links, a pipe, and names that Windows does not allow")
has_heif = importlib.util.find_spec("pillow_heif") is not None


def _rows(result: Result) -> dict[str, str]:
    """Returns the outcome of each file in the output, as `kinds` names it: captioned, or the start of its error."""
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row["error"].split(":")[0] if "error" in row else CAPTIONED for row in rows}


def test_every_file_of_a_folder_is_captioned_or_named(
    capfw: Callable[..., Result], trained: Path, tmp_path: Path
) -> None:
    expected = make(tmp_path / "kinds")
    assert len(expected) >= 40

    result = capfw("caption", tmp_path / "kinds", "--run", trained, "--json", "--device", "cpu")

    assert result.exit_code == 1
    rows = _rows(result)
    assert rows == {path: outcome for path, outcome in expected.items() if path in rows}
    left = {path: outcome for path, outcome in expected.items() if path not in rows}
    assert CAPTIONED not in left.values()
    counts = Counter(outcome for outcome in expected.values() if outcome != CAPTIONED)
    [closing] = [line for line in result.stderr.splitlines() if line.startswith("captioned ")]
    assert closing.startswith(f"captioned {len(expected) - counts.total()} images, skipped {counts.total()}: ")
    told = {reason: int(count) for reason, count in re.findall(r"(?:: |; )([^:(;]+?)(?: \([^)]*\))?: (\d+)", closing)}
    assert told == counts
    assert "other files (1 .mp4, 1 .pdf, 1 .svg, 1 .txt, 1 .zip, 1 without suffix): 6" in closing
    for path, outcome in expected.items():
        if outcome not in (CAPTIONED, "other files"):
            assert path in result.stderr, path


def test_a_file_that_is_named_is_tried_whatever_its_name(captioner: Captioner, tmp_path: Path) -> None:
    for name in ("photo", "photo.JPG", "photo.jpg_large", "photo.txt", ".photo.jpg"):
        (tmp_path / name).write_bytes(images()["plain.jpg"])
    found = find_images(sorted(tmp_path.iterdir()))
    assert not found.skipped
    [first, *others] = [captions[0].text for _, captions in captioner.stream(list(found.sources()))]
    assert set(others) == {first}
    assert len(others) == 4
    assert sum(found.by_type().values()) == 5


def test_linked_folders_are_searched_once_and_files_keep_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "photos/b").mkdir(parents=True)
    (tmp_path / "away").mkdir()
    for name in ("photos/b/1.png", "away/2.png"):
        (tmp_path / name).write_bytes(images()["plain.png"])
    (tmp_path / "photos/a").symlink_to("b")
    (tmp_path / "photos/away").symlink_to("../away")
    (tmp_path / "away/back").symlink_to("../photos")
    (tmp_path / "photos/0.png").symlink_to("b/1.png")

    found = find_images([tmp_path / "photos"])

    assert [str(path.relative_to(tmp_path / "photos")) for path in found.images] == ["away/2.png", "b/1.png"]
    assert {(Path(each.name).name, each.reason) for each in found.skipped} == {
        ("0.png", "named or linked twice"),
        ("a", "linked folders that were searched already"),
        ("back", "linked folders that were searched already"),
    }


def test_a_file_that_is_named_twice_is_taken_once(photos: Path) -> None:
    found = find_images([photos / "2.png", photos, photos / "../photos/2.png"])
    assert [path.name for path in found.images] == ["2.png", "1.png", "3.png"]
    assert found.reasons() == {"named or linked twice": 2}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["1.png", "2.png", "3.png"]),
        ("**/*.png", ["1.png", "2.png", "3.png", "4.png"]),
        ("**", ["1.png", "2.png", "3.png", "4.png"]),
        ("*", ["1.png", "2.png", "3.png", "4.png"]),
        ("[12].png", ["1.png", "2.png"]),
        ("deep*/*.png", ["4.png"]),
    ],
)
def test_patterns(photos: Path, pattern: str, names: list[str]) -> None:
    (photos / "deep").mkdir()
    (photos / ".hidden").mkdir()
    for file in (photos / "deep/4.png", photos / ".hidden/5.png"):
        file.write_bytes(images()["plain.png"])
    (photos / "deep/up").symlink_to("..")
    found = find_images([f"{photos}/{pattern}"])
    assert sorted(path.name for path in found.images) == names
    assert not any(each.is_failure for each in found.skipped)


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos: Path) -> None:
    (photos / "[12].png").write_bytes(images()["plain.png"])
    assert [path.name for path in find_images([photos / "[12].png"]).images] == ["[12].png"]


def test_what_is_not_there_is_named(photos: Path) -> None:
    found = find_images([photos / "1.png", photos / "9.png", f"{photos}/*.jpg"])
    assert [(Path(each.name).name, each.reason) for each in found.skipped] == [
        ("9.png", "missing"),
        ("*.jpg", "patterns without a match"),
    ]
    assert all(each.is_failure for each in found.skipped)


def test_the_format_is_that_of_the_first_bytes() -> None:
    wrong_names = {"png-named.jpg", "no-suffix"}
    for name, data in images().items():
        if name not in wrong_names:
            assert format_of(data[:64]) == SUFFIXES[Path(name).suffix.lower()], name
    assert format_of(HEIC) == "HEIC"
    assert [format_of(data) for data in (b"", b"BM", b"BMW makes cars", b"PK\x03\x04", b"\0\0\0\x18ftypisom")] == [
        None
    ] * 5


@pytest.mark.skipif(not has_heif, reason="needs the extra capfw[heif]")
def test_heic_is_read_with_pillow_heif(capfw: Callable[..., Result], trained: Path, tmp_path: Path) -> None:
    from pillow_heif import from_pillow

    from_pillow(Image.new("RGB", (64, 48), "red")).save(tmp_path / "phone.HEIC")
    red, green, blue = open_image((tmp_path / "phone.HEIC").read_bytes()).getpixel((30, 20))
    assert red > 240 > 20 > max(green, blue)
    result = capfw("caption", tmp_path, "--run", trained, "--device", "cpu")
    assert (result.exit_code, result.stderr) == (0, "captioned 1 image\n")


def test_without_pillow_heif_each_heic_is_named_with_the_remedy(
    capfw: Callable[..., Result], trained: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    for name in ("a.heic", "b.HEIF"):
        (photos / name).write_bytes(HEIC)
    remedy = 'HEIC needs pillow-heif (pip install "capfw[heif]")'
    with pytest.raises(UnreadableImage, match=re.escape(remedy)):
        open_image(HEIC)

    result = capfw("caption", photos, "--run", trained, "--device", "cpu")
    planned = capfw("caption", photos, "--run", trained, "--device", "cpu", "--dry-run")

    assert result.exit_code == 1
    assert f"{photos / 'a.heic'}: {remedy}" in result.stderr
    assert result.stderr.endswith(f"captioned 3 images, skipped 2: {remedy}: 2\n")
    assert f"Cannot be decoded: {remedy}" in planned.stdout
    assert "PNG: 3; HEIC: 2" in planned.stdout
