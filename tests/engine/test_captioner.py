"""`Captioner` takes images as users have them, and options as keywords; what it cannot take is named with its fix."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from capfw import CapfwError, Captioner
from capfw.core.engine.generate import ImageCaptions
from capfw.core.errors import RequestError, UnreadableSource
from capfw.core.protocols import BeamOptions, FileSource, MemorySource, NucleusOptions, Sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SAMPLING = NucleusOptions(max_tokens=8, top_p=1.0, temperature=1.5)


def pixels(channels: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).integers(0, 256, (20, 30, channels), dtype=np.uint8)


def png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, format="PNG")
    return written.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A picture of noise, so that every pixel counts."""
    path = tmp_path / "noise.png"
    path.write_bytes(png(Image.fromarray(pixels())))
    return path


OPENED: dict[str, Callable[[], Any]] = {
    "Pillow": lambda: Image.fromarray(pixels()),
    "Pillow, not yet loaded": lambda: Image.open(io.BytesIO(png(Image.fromarray(pixels())))),
    "NumPy": pixels,
    "NumPy, not contiguous": lambda: pixels()[:, ::-1][:, ::-1],
    "NumPy, floats": lambda: pixels().astype(np.float32) / 255,
    "NumPy, doubles": lambda: pixels() / 255,
    "torch": lambda: torch.from_numpy(pixels()).permute(2, 0, 1),
    "torch, floats": lambda: torch.from_numpy(pixels()).permute(2, 0, 1) / 255,
    "torch, half": lambda: (torch.from_numpy(pixels()).permute(2, 0, 1) / 255).half(),
    "torch, with gradients": lambda: (torch.from_numpy(pixels()).permute(2, 0, 1) / 255).requires_grad_(),
}
ENCODED: dict[str, Callable[[Path], Any]] = {
    "Path": lambda file: file,
    "string": str,
    "bytes": Path.read_bytes,
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "BytesIO": lambda file: io.BytesIO(file.read_bytes()),
    "FileSource": FileSource,
    "MemorySource": lambda file: MemorySource(file.read_bytes()),
    "Sample": lambda file: Sample(4, FileSource(file), ()),
}


@pytest.mark.parametrize("kind", OPENED)
def test_every_form_of_the_same_pixels_gets_the_same_captions(captioner: Captioner, file: Path, kind: str) -> None:
    assert captioner.caption(OPENED[kind]()) == captioner.caption(file)
    sampled = captioner.caption(Image.fromarray(pixels()), SAMPLING, num_captions=4)
    assert captioner.caption(OPENED[kind](), SAMPLING, num_captions=4) == sampled


@pytest.mark.parametrize("kind", ENCODED)
def test_every_form_of_the_same_file_gets_the_same_captions(captioner: Captioner, file: Path, kind: str) -> None:
    assert captioner.caption(ENCODED[kind](file)) == captioner.caption(file)
    ids = {"ids": 4} if kind == "Sample" else {}
    assert captioner.caption(ENCODED[kind](file), SAMPLING) == captioner.caption(file, SAMPLING, **ids)


def test_an_open_file_is_read_from_its_position_on(captioner: Captioner, file: Path) -> None:
    with file.open("rb") as held:
        assert captioner.caption(held) == captioner.caption(file)
        with pytest.raises(UnreadableSource, match=r"noise\.png: .* no bytes after its position\.\n.*file\.seek\(0\)"):
            captioner.caption(held)
        held.seek(0)
        assert captioner.caption([held]) == [captioner.caption(file)]
    with pytest.raises(UnreadableSource, match=r"noise\.png: cannot be read: .*closed file"):
        captioner.caption(held)


def test_pixels_decide_what_is_sampled_and_ids_take_their_place(captioner: Captioner) -> None:
    images = [pixels()]
    for value in range(7):
        images.append(pixels().copy())
        images[-1][0, 0, 0] = value
    drawn = {str(captions) for captions in captioner.caption(images, SAMPLING, num_captions=3)}
    assert len(drawn) == 8
    assert len({str(c) for c in captioner.caption([pixels()] * 8, SAMPLING, num_captions=3)}) == 1
    by_id = captioner.caption([pixels()] * 2, SAMPLING, ids=["a", "b"])
    assert [captioner.caption(pixels(), SAMPLING, ids=name) for name in ("a", "b")] == by_id
    assert captioner.caption(pixels(), SAMPLING, ids=["a"]) == by_id[0]


def test_grey_and_transparent_pixels_are_those_of_pillow(captioner: Captioner) -> None:
    grey, clear = pixels(1)[:, :, 0], pixels(4)
    expected = captioner.caption(np.stack([grey] * 3, axis=2))
    tensor = torch.from_numpy(grey)
    assert [captioner.caption(each) for each in (grey, grey[:, :, None], tensor, tensor[None])] == [expected] * 4
    on_white = captioner.caption(png(Image.fromarray(clear)))
    forms = (clear, torch.from_numpy(clear).permute(2, 0, 1), Image.fromarray(clear))
    assert [captioner.caption(each) for each in forms] == [on_white] * 3
    assert on_white != captioner.caption(Image.fromarray(clear).convert("RGB"))


def test_an_opened_photo_is_turned_upright_as_its_file_is(captioner: Captioner, tmp_path: Path) -> None:
    image, file = Image.fromarray(pixels()), tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, exif=exif)
    assert captioner.caption(Image.open(file)) == captioner.caption(file) != captioner.caption(image)


def test_one_image_gets_its_captions_and_several_get_a_list(captioner: Captioner, file: Path) -> None:
    one = captioner.caption(str(file), num_beams=3, num_captions=2)
    assert isinstance(one, ImageCaptions)
    assert [one.text, str(one)] == [one[0].text, f"{one[0].text}\n{one[1].text}"]
    assert repr(one) == f"ImageCaptions({one[0].text!r}, {one[1].text!r})"
    assert repr(one[0]) == f"Caption({one[0].text!r}, log_prob={one[0].log_prob:.3f})"
    several = [one, one]
    for images in ([file, file], (file, pixels()), iter([file, pixels()]), (each for each in [file, file])):
        assert captioner.caption(images, num_beams=3, num_captions=2) == several
    assert captioner.caption([]) == []
    [(given, made)] = captioner.stream(file)
    assert (given, made) == (file, captioner.caption(file))


def nothing() -> Iterator[object]:
    yield None


WRONG: list[tuple[Callable[[Path], Any], str]] = [
    (lambda _: None, r"^images: None is no image\.\n  An image is a path, .* \(H, W, 3\), .* \(3, H, W\)"),
    (lambda _: 3, "^images: an object of type int is no image"),
    (lambda _: [3.0], r"^images\[0\]: an object of type float is no image"),
    (lambda _: nothing(), r"^images\[0\]: None is no image"),
    (lambda file: {"a": file}, r"^images: the images are in an object of type dict, .*\n  Give a list"),
    (lambda file: {file}, "^images: the images are in an object of type set"),
    (lambda file: [[file]], r"^images\[0\]: an object of type list is no image"),
    (lambda _: "https://a.example/b.jpg", r"^images: https://a.example/b.jpg is a URL.*\n.*capfw caption --allow-urls"),
    (lambda _: ["s3://a/b.jpg"], r"^images\[0\]: s3://a/b.jpg is a URL.*\n  Download it first"),
    (lambda _: "data:image/png;base64," + "A" * 999, r"^images: data:image/png;base64,A{38}\.\.\. is a URL"),
    (lambda file: file.parent, r'^images: .* is a folder\.\n.*Path\(".*"\)\.glob'),
    (
        lambda _: pixels().transpose(2, 0, 1),
        r"array of shape \(3, 20, 30\) .*\n  Its channels .* array.transpose\(1, 2, 0",
    ),
    (lambda _: pixels()[None], r"array of shape \(1, 20, 30, 3\) is no image\.\n  This is a batch: give list\(array\)"),
    (lambda _: pixels(2), r"shape \(20, 30, 2\) is no image\.\n  A NumPy image has shape \(H, W, 3\)"),
    (lambda _: pixels()[:0], r"shape \(0, 30, 3\) is no image"),
    (
        lambda _: pixels().astype(np.int64),
        r"array of int64 is no image\.\n  Pixels are uint8 .* array.astype\(\"uint8\"\)",
    ),
    (lambda _: np.array(["a.jpg", "b.jpg"]), r"array of shape \(2,\) is no image"),
    (lambda _: pixels().astype(np.float32), r"floats of an image lie in \[0, 1\], and these lie between 0 and 255"),
    (lambda _: np.full((9, 9, 3), np.nan), r"lie in \[0, 1\], and these lie between nan and nan"),
    (
        lambda _: torch.from_numpy(pixels()),
        r"tensor of shape \(20, 30, 3\) .*\n  Its channels .* tensor.permute\(2, 0, 1\)",
    ),
    (lambda _: torch.zeros(2, 3, 9, 9), r"shape \(2, 3, 9, 9\) is no image\.\n  This is a batch: give list\(tensor\)"),
    (lambda _: torch.zeros(3, 9, 9, dtype=torch.int64), r"tensor of int64 is no image\.\n  Pixels .* tensor.byte\(\)"),
    (lambda _: torch.randn(3, 9, 9), r"these lie between -.*\n.*normalization"),
    (
        lambda file: file.open("r", encoding="latin-1"),
        r'returned an object of type str, not bytes\.\n.*open\(path, "rb"\)',
    ),
]


@pytest.mark.parametrize(("give", "message"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_is_no_image_is_named_with_what_is(
    captioner: Captioner, file: Path, give: Callable[[Path], Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        captioner.caption(give(file))


UNREADABLE: list[tuple[Callable[[Path], Any], str]] = [
    (lambda file: file.with_name("no.png"), r"no\.png: cannot be read: No such file"),
    (lambda file: f"{file}\0", "cannot be read: embedded null byte"),
    (
        lambda _: b"<html>",
        r"^an image in memory: cannot decode the image: the bytes are no image of a format that Pillow",
    ),
    (lambda _: b"", "^an image in memory: cannot decode the image: there are no bytes"),
    (lambda _: [io.BytesIO(b"GIF89a")], r"^an image in memory \(images\[0\]\): cannot decode"),
    (lambda file: MemorySource(file.read_bytes()[:200], "half"), "^half: cannot decode the image"),
]


@pytest.mark.parametrize(("give", "message"), UNREADABLE, ids=[str(number) for number in range(len(UNREADABLE))])
def test_an_image_that_cannot_be_read_is_named_in_words(
    captioner: Captioner, file: Path, give: Callable[[Path], Any], message: str
) -> None:
    with pytest.raises(UnreadableSource, match=message) as caught:
        captioner.caption(give(file))
    assert " object at 0x" not in str(caught.value)


def test_a_stream_returns_each_error_in_its_place(captioner: Captioner, file: Path) -> None:
    given = [file, None, "http://a.example", b"no", pixels(), os.fspath(file)]
    made = list(captioner.stream(given, batch_size=4))  # type: ignore[arg-type]  # wrong on purpose
    assert [image for image, _ in made] == given
    expected = captioner.caption(file)
    assert [captions for _, captions in made if not isinstance(captions, CapfwError)] == [expected] * 3
    assert [str(error).split(":")[0] for _, error in made if isinstance(error, CapfwError)] == [
        "images[1]",
        "images[2]",
        "an image in memory (images[3])",
    ]


def test_keywords_change_the_options_of_the_run(captioner: Captioner, file: Path) -> None:
    beams = captioner.caption(file, BeamOptions(num_beams=3, num_captions=2, max_tokens=50))
    assert captioner.caption(file, num_beams=3, num_captions=2) == beams
    assert captioner.caption(file, BeamOptions(num_beams=3), num_captions=2) == beams
    short = captioner.caption(file, max_tokens=2)
    assert len(short.text.split()) <= 2 < len(captioner.caption(file).text.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beam": 3}, r'^num_beam: no option .* "num_beam"\.\n  Options: .*  Did you mean "num_beams"\?'),
        ({"num_beams": 1}, "/num_beams: must be a whole number, at least 2; got 1"),
        ({"options": {"num_beams": 3}}, r"^options: \{'num_beams': 3\} is no object of options\.\n.*num_beams=3"),
        ({"texts": ["a", "b"]}, "^texts: there are more texts than images"),
        ({"ids": []}, "^ids: there are fewer ids than images"),
        ({"ids": 1.5}, r"^ids: 1\.5 is no list\."),
    ],
)
def test_a_wrong_argument_is_named(captioner: Captioner, file: Path, arguments: Any, message: str) -> None:
    with pytest.raises(CapfwError, match=message):
        captioner.caption(file, **arguments)
    with pytest.raises(CapfwError, match=message):
        list(captioner.stream(file, **arguments))


def test_one_text_for_several_images_is_refused(captioner: Captioner, file: Path) -> None:
    with pytest.raises(RequestError, match=r"^texts: 'a red circle' is no list"):
        captioner.caption([file, file], texts="a red circle")
    prompted = captioner.caption(file, texts="a red circle")
    assert captioner.caption([file], texts=["a red circle"]) == [prompted] != [captioner.caption(file)]
