"""One captioner behind an HTTP server with a thread per request: the captions are those of one thread."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from capfw import CapfwError, Captioner
from capfw.core.protocols import OptionChanges

NUM_CLIENTS, NUM_PHOTOS = 4, 100
OPTIONS: OptionChanges = {"method": "nucleus", "temperature": 1.5, "num_captions": 2, "max_tokens": 12}


def photos() -> list[bytes]:
    """Pictures of noise of different sizes, as PNG, JPEG and so on."""
    random, made = np.random.default_rng(3), []
    for number in range(NUM_PHOTOS):
        written = io.BytesIO()
        values = random.integers(0, 256, (20 + number % 7, 20 + number % 5, 3), dtype=np.uint8)
        Image.fromarray(values).save(written, format=("PNG", "JPEG", "WEBP", "GIF")[number % 4])
        made.append(written.getvalue())
    return made


@contextmanager
def serving(captioner: Captioner) -> Iterator[str]:
    """The address of a server that answers a posted photo with its captions, and with 400 and the reason otherwise."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                made = captioner.caption(data, **OPTIONS)
                code, answer = 200, json.dumps([[each.text, each.log_prob] for each in made])
            except CapfwError as err:
                code, answer = 400, json.dumps(str(err))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_four_clients_get_what_one_thread_gets(captioner: Captioner) -> None:
    given = photos()
    expected = [[[each.text, each.log_prob] for each in captioner.caption(photo, **OPTIONS)] for photo in given]
    assert len({str(captions) for captions in expected}) == NUM_PHOTOS
    opener, together = urllib.request.build_opener(urllib.request.ProxyHandler({})), Barrier(NUM_CLIENTS)

    def client(first: int) -> dict[int, Any]:
        """Posts every fourth photo, and begins when the others do."""
        together.wait()
        return {
            number: json.load(opener.open(address, given[number])) for number in range(first, NUM_PHOTOS, NUM_CLIENTS)
        }

    with serving(captioner) as address, ThreadPoolExecutor(NUM_CLIENTS) as pool:
        answers = {number: each for answer in pool.map(client, range(NUM_CLIENTS)) for number, each in answer.items()}
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(address, b"no photo")
    assert [answers[number] for number in range(NUM_PHOTOS)] == expected
    assert caught.value.code == 400
    assert "an image in memory: cannot decode the image" in json.load(caught.value)
