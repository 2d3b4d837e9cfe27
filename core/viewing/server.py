"""Serves the page on 127.0.0.1, to the reader of its address alone.

The address has a token that is made at the start. The server refuses any other path, and any other Host header, so that
a web page elsewhere cannot reach it under a name of its own. It serves the page, its data and copies of its pictures: no
request names a file.
"""

from __future__ import annotations

import re
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

from ..errors import RequestError
from .collection import Collection, System
from .columns import extra_of, meta_of, num_shards, progress_of, rows_of
from .heat import HeatOf, heat_of
from .page import data_script, page_html
from .pictures import GRID_SIDE, PHOTO_SIDE, picture_of

HOST = "127.0.0.1"
_SCRIPT = "text/javascript; charset=utf-8"
_PICTURE = re.compile(r"(pictures|photos)/\d+/(\d+)\.webp")
_HEAT = re.compile(r"data/heat-(\d+)-(\d+)\.js")
_DATA = re.compile(r"data/(meta|live|rows|extra)(?:-(\d+))?\.js")


class Viewer:
    """The page's content, by path.

    `collect` reads everything. The other two are cheaper and serve a run that goes on: `version` returns the collection's
    version as it would be now, and `systems` reads what changes while the version stays. `heat` computes the heat maps of
    a caption.
    """

    def __init__(
        self,
        collect: Callable[[], Collection],
        version: Callable[[], str] | None = None,
        systems: Callable[[Collection], Sequence[System]] | None = None,
        heat: HeatOf | None = None,
    ) -> None:
        self._collect, self._version, self._systems, self._heat = collect, version, systems, heat
        self._lock = threading.Lock()
        self.collection = collect()

    def content(self, path: str) -> tuple[str, bytes] | None:
        """The type and the bytes of a path below the token; None where there is nothing."""
        if path in ("", "index.html"):
            return "text/html; charset=utf-8", page_html().encode()
        if match := _PICTURE.fullmatch(path):
            side = GRID_SIDE if match[1] == "pictures" else PHOTO_SIDE
            index = int(match[2])
            found = (
                picture_of(self.collection.images[index].source, side) if index < len(self.collection.images) else None
            )
            return None if found is None else ("image/webp", found)
        if match := _HEAT.fullmatch(path):
            value = self._heat and heat_of(self.collection, int(match[1]), int(match[2]), self._heat)
            return None if not value else (_SCRIPT, data_script(f"heat-{match[1]}-{match[2]}", value))
        if match := _DATA.fullmatch(path):
            name = match[1] if match[2] is None else f"{match[1]}-{match[2]}"
            value = self._data(match[1], match[2])
            return None if value is None else (_SCRIPT, data_script(name, value))
        return None

    def _data(self, kind: str, number: str | None) -> Mapping[str, object] | None:
        if kind == "meta":
            self._read_again()
            version = quote(self.collection.version)  # other results may have another image at the same place
            picture, photo = (f"{name}/{{shard}}/{{index}}.webp?{version}" for name in ("pictures", "photos"))
            return meta_of(self.collection, picture=picture, photo=photo, heat=self._heat is not None)
        if kind == "live":
            self._read_again()
            return self._progress()
        shard = int(number) if number is not None else num_shards(self.collection)
        if shard >= num_shards(self.collection):
            return None
        return rows_of(self.collection, shard) if kind == "rows" else extra_of(self.collection, shard)

    def _read_again(self) -> None:
        """Reads the runs again: everything where their results have changed, or else the state of runs that go on."""
        with self._lock:
            if self._version is not None and self._version() != self.collection.version:
                self.collection = self._collect()
            elif self._systems is not None and any(system.is_live for system in self.collection.systems):
                self.collection = replace(self.collection, systems=self._systems(self.collection))

    def _progress(self) -> dict[str, object]:
        systems = self.collection.systems
        states = [
            f"{system.name}: {system.status}" if len(systems) > 1 else system.status
            for system in systems
            if system.status
        ]
        return {
            "version": self.collection.version,
            "is_live": any(system.is_live for system in systems),
            "status": " · ".join(states),
            "systems": [progress_of(system) for system in systems],
        }


class Server(ThreadingHTTPServer):
    """The server of a viewer. `address` is the page's, with the token. Raises `RequestError` when the port is taken."""

    daemon_threads = True

    def __init__(self, viewer: Viewer, port: int = 0) -> None:
        self.viewer = viewer
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as err:
            what = f"port {port} of {HOST} cannot be used: {err.strerror or err}."
            raise RequestError(
                what, where="--port", fix="Name another, or leave it out: a free port is then chosen."
            ) from err

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The Host headers that are answered."""
        end = "" if self.server_port == 80 else f":{self.server_port}"  # browsers leave the usual port out
        return f"{HOST}{end}", f"localhost{end}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leaves out the traceback of a reader who has gone; a picture that nobody waits for is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "capfw", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        token, _, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        is_known = secrets.compare_digest(token.encode(), self.server.token.encode())
        if self.headers.get("Host") not in self.server.hosts or not is_known:
            self._send(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", b"This address lacks the token.\n", with_body)
            return
        found = self.server.viewer.content(path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"There is nothing here.\n", with_body)
        else:
            self._send(HTTPStatus.OK, *found, with_body)

    def _send(self, status: HTTPStatus, content_type: str, content: bytes, with_body: bool) -> None:
        self.send_response(status)
        is_picture = content_type.startswith("image/")
        for name, value in (
            ("Content-Type", content_type),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "private, max-age=3600" if is_picture else "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: the terminal belongs to the command."""
