"""A folder with many kinds of file, and what becomes of each."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image, features

CAPTIONED = "captioned"
UNDECODABLE = "cannot decode the image"
HEIC = b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf"
"""The beginning of a HEIC image."""


def _encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, format=format_name, **options)
    return written.getvalue()


def _bomb() -> bytes:
    """A PNG that declares 60,000 x 60,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif)


def images() -> dict[str, bytes]:
    """Files that are captioned, by name."""
    rgb = Image.new("RGB", (32, 24), (200, 40, 40))
    frames = {"save_all": True, "append_images": [Image.new("RGB", (32, 24), "blue")]}
    jpeg, png = _encoded(rgb, "JPEG"), _encoded(rgb, "PNG")
    found = {
        "plain.jpg": jpeg,
        "UPPER.JPEG": jpeg,
        "camera.jfif": jpeg,
        "rotated.jpg": _rotated(),
        "cmyk.jpg": _encoded(rgb.convert("CMYK"), "JPEG"),
        "plain.png": png,
        "sixteen.png": _encoded(Image.new("I;16", (32, 24), 40_000), "PNG"),
        "palette.png": _encoded(rgb.convert("P"), "PNG"),
        "grey.png": _encoded(rgb.convert("L"), "PNG"),
        "rgba.png": _encoded(Image.new("RGBA", (32, 24), (9, 9, 9, 90)), "PNG"),
        "one-pixel.png": _encoded(Image.new("RGB", (1, 1)), "PNG"),
        "png-named.jpg": png,
        "plain.webp": _encoded(rgb, "WEBP"),
        "moving.webp": _encoded(rgb, "WEBP", **frames),
        "moving.gif": _encoded(rgb, "GIF", **frames),
        "plain.bmp": _encoded(rgb, "BMP"),
        "pages.tiff": _encoded(rgb, "TIFF", **frames),
        "icon.ico": _encoded(rgb, "ICO"),
        "plain.ppm": _encoded(rgb, "PPM"),
        "no-suffix": jpeg,
        "a\nline.png": png,
        "emoji 🦊.png": png,
        "quotes'\".png": png,
        os.fsdecode(b"latin-\xe9.png"): png,
    }
    optional = {"AVIF": ("avif", "plain.avif"), "JPEG2000": ("jpg_2000", "plain.jp2")}
    return found | {
        name: _encoded(rgb, format_name) for format_name, (feature, name) in optional.items() if features.check(feature)
    }


def others() -> dict[str, tuple[bytes, str]]:
    """Files that are not captioned, by name, with the reason."""
    jpeg = images()["plain.jpg"]
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], UNDECODABLE),
        "empty.jpg": (b"", UNDECODABLE),
        "text-named.jpg": (b"no image", UNDECODABLE),
        "bomb.png": (_bomb(), UNDECODABLE),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "other files"),
        "paper.pdf": (b"%PDF-1.7", "other files"),
        "film.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "other files"),
        "all.zip": (b"PK\x03\x04", "other files"),
        "notes.txt": (b"a note", "other files"),
        "README": (b"a note", "other files"),
        ".DS_Store": (b"\0\0\0\x01Bud1", "hidden or system files"),
        "._plain.jpg": (b"\0\x05\x16\x07", "hidden or system files"),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0", "hidden or system files"),
    }


def make(folder: Path) -> dict[str, str]:
    """Writes the folder; returns what becomes of each file or link in it, by its path."""
    folder.mkdir()
    outcomes: dict[str, str] = {}

    def add(name: str, outcome: str, write: Callable[[Path], object]) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write(path)
        outcomes[str(path)] = outcome

    for name, data in images().items():
        add(name, CAPTIONED, lambda path, data=data: path.write_bytes(data))
    for name, (data, reason) in others().items():
        add(name, reason, lambda path, data=data: path.write_bytes(data))
    add("folder.jpg/inside.png", CAPTIONED, lambda path: path.write_bytes(images()["plain.png"]))
    add("link.jpg", "named or linked twice", lambda path: path.symlink_to("plain.jpg"))
    add("dangling.jpg", "broken links", lambda path: path.symlink_to("nowhere.jpg"))
    add("loop", "linked folders that were searched already", lambda path: path.symlink_to("."))
    add("pipe.jpg", "pipes or devices", os.mkfifo)
    add("locked.png", CAPTIONED, lambda path: path.write_bytes(images()["plain.png"]))
    locked = folder / "locked.png"
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # the superuser reads it all the same
        outcomes[str(locked)] = "cannot be read"
    return outcomes
