"""Images behind URLs, from a server on this machine: bodies, errors, redirects and limits."""

from __future__ import annotations

import io
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from capfw.core.engine.inputs.finding import find_images
from capfw.core.engine.inputs.urls import UrlSource, downloaded_ahead
from capfw.core.errors import UnreadableSource


def _png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (32, 24), "green").save(written, format="PNG")
    return written.getvalue()


class _Site(BaseHTTPRequestHandler):
    """Answers by the path of the request."""

    asked: list[str]
    together: threading.Barrier

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/together"):
            self.together.wait()  # an error, which ends the connection, where a request comes alone
        if self.path.startswith("/moved"):
            self._answer(302, b"", Location="/photo.png" if self.path == "/moved" else "/moved-again")
        elif self.path == "/page":
            self._answer(200, b"<html></html>", **{"Content-Type": "text/html; charset=utf-8"})
        elif self.path == "/nothing.png":
            self._answer(404, b"none")
        elif self.path == "/broken.png":
            self._answer(200, _png()[:40], **{"Content-Type": "image/png"})
        elif self.path == "/slow.png":
            self.send_response(200)
            self.end_headers()
            for _ in range(50):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        else:
            self._answer(200, _png(), **{"Content-Type": "image/png"})

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Prints nothing."""


@pytest.fixture
def asked() -> list[str]:
    """The paths that were requested."""
    return []


@pytest.fixture
def site(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Site", (_Site,), {"asked": asked, "together": threading.Barrier(4, timeout=5)})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_urls_are_captioned_and_failures_are_rows(
    capfw: Callable[..., Result], trained: Path, photos: Path, site: str, asked: list[str]
) -> None:
    names = ["photo.png", "moved", "page", "nothing.png", "broken.png", "moved-again", "photo.png"]
    urls = [f"{site}/{name}" for name in names]
    command = ("caption", *urls, photos / "1.png", "--run", trained, "--json", "--device", "cpu")
    refused = capfw(*command)
    assert (refused.exit_code, asked) == (2, [])

    result = capfw(*command, "--allow-urls", "--set", "/generate/method=nucleus")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["file"] for row in rows] == [*urls[:6], str(photos / "1.png")]
    errors = [row.get("error", "") for row in rows]
    assert errors[:2] == ["", ""]
    assert errors[2] == "is not an image: the server sent text/html"
    assert errors[3] == "cannot be fetched: HTTP 404 Not Found"
    assert errors[4].startswith("cannot decode the image")
    assert errors[5].startswith("cannot be fetched: Exceeded maximum allowed redirects")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "captioned 3 images, skipped 5: named or linked twice: 1; is not an image: 1; cannot be fetched: 2; "
        "cannot decode the image: 1"
    )
    assert asked.count("/photo.png") == 2  # once by itself and once after /moved: not again for sampling


def test_a_list_on_stdin_may_hold_urls(capfw: Callable[..., Result], trained: Path, site: str) -> None:
    options = ("--run", trained, "--device", "cpu")
    given = f"{site}/photo.png\n".encode()
    assert "add --allow-urls" in capfw("caption", "-", *options, given=given).stderr
    result = capfw("caption", "-", "--allow-urls", *options, given=given)
    assert (result.exit_code, result.stdout.split("\t")[0]) == (0, f"{site}/photo.png")


def test_time_and_size_are_limited(site: str) -> None:
    with pytest.raises(UnreadableSource, match=r"slow\.png: cannot be fetched: it did not arrive within 0\.3 s"):
        UrlSource(f"{site}/slow.png", timeout_seconds=0.3).read()
    with pytest.raises(UnreadableSource, match="cannot be fetched: it has more than 1e-05 MB"):
        UrlSource(f"{site}/photo.png", max_bytes=10).read()


def test_a_url_that_leads_nowhere_is_named(site: str) -> None:
    for url in ("http://127.0.0.1:1/a.png", "http://[", "http://no host/a.png"):
        with pytest.raises(UnreadableSource, match=r"cannot be fetched: \S"):
            UrlSource(url).read()


def test_a_source_travels_and_is_downloaded_once(site: str, asked: list[str]) -> None:
    source: UrlSource = pickle.loads(pickle.dumps(UrlSource(f"{site}/photo.png")))
    assert source.read() == source.read() == _png()
    assert asked == ["/photo.png"]


def test_several_are_downloaded_at_once_and_come_in_order(site: str, asked: list[str], photos: Path) -> None:
    found = find_images([f"{site}/together/{number}" for number in range(4)] + [photos], allow_urls=True)
    sources = list(downloaded_ahead(found.sources()))
    assert [source.name for source in sources] == found.names
    assert [source.read() for source in sources[:4]] == [_png()] * 4
    assert len(asked) == 4


def test_a_failure_is_not_asked_for_again(site: str, asked: list[str]) -> None:
    [source] = downloaded_ahead([UrlSource(f"{site}/nothing.png")])
    for _ in range(2):
        with pytest.raises(UnreadableSource, match="HTTP 404"):
            source.read()
    assert asked == ["/nothing.png"]
