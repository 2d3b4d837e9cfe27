"""A Hugging Face hub on this machine: serves folders in the hub's own layout, and records the requests."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`requests` holds "METHOD /path" of each request for a model. `address` is a value for HF_ENDPOINT."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[str] = []

    def record(self, method: str, path: str) -> None:
        """The client may also ask who calls it ("/api/agent-harnesses"), which has nothing to do with capfw."""
        if not path.startswith("/api/") or path.startswith("/api/models/"):
            self.requests.append(f"{method} {path}")

    @property
    def asked(self) -> list[str]:
        """The repositories whose files were listed, sorted; a repository that was asked twice is there twice."""
        prefix = "GET /api/models/"
        return sorted(request.removeprefix(prefix) for request in self.requests if request.startswith(prefix))

    @property
    def downloaded(self) -> list[str]:
        """The files that were downloaded, as "owner/name/file", sorted."""
        paths = [r.removeprefix("GET /") for r in self.requests if r.startswith("GET /") and "/resolve/" in r]
        return sorted(path.replace("/resolve/main", "") for path in paths)


@contextmanager
def served(repositories: Mapping[str, Path]) -> Iterator[Hub]:
    """Serves the folder of each repository. There are no others."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            hub.record(self.command, path)
            if path.startswith("/api/models/"):
                self._send_list(path.removeprefix("/api/models/"))
            else:
                repository, _, file = path.removeprefix("/").partition("/resolve/main/")
                self._send_file(repository, file)

        def _send_list(self, repository: str) -> None:
            if repository not in repositories:
                return self._send_error("RepoNotFound")
            names = sorted(file.name for file in repositories[repository].iterdir())
            content = {"id": repository, "sha": _COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return self._send(json.dumps(content).encode(), {"Content-Type": "application/json"})

        def _send_file(self, repository: str, name: str) -> None:
            file = Path(repositories.get(repository, Path("/nowhere")), name)
            if not name or not file.is_file():
                return self._send_error("EntryNotFound" if repository in repositories else "RepoNotFound")
            data = file.read_bytes()
            return self._send(data, {"ETag": f'"{hashlib.sha256(data).hexdigest()[:40]}"', "X-Repo-Commit": _COMMIT})

        def _send(self, data: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def _send_error(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
