"""The server: it answers its own page and nobody else's, and shows a run that goes on."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from capfw.core.errors import RequestError
from capfw.core.viewing.collection import Collection
from capfw.core.viewing.runs import results_version, systems_of, view_runs
from capfw.core.viewing.server import Server, Viewer

from .conftest import Watched, small_collection


@contextmanager
def serving(viewer: Viewer) -> Iterator[Server]:
    with Server(viewer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Viewer(small_collection)) as server:
        yield server


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def test_server_listens_on_this_machine_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32


def test_page_data_and_pictures_are_served_below_the_token(server: Server) -> None:
    page = ask(server, f"/{server.token}/")
    assert (page.status, page.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    assert page.getheader("Referrer-Policy") == "no-referrer"
    for path, kind in (
        ("data/meta.js", "text/javascript"),
        ("data/rows-0.js", "text/javascript"),
        ("data/extra-0.js", "text/javascript"),
        ("pictures/0/119.webp", "image/webp"),
        ("photos/0/0.webp", "image/webp"),
    ):
        answer = ask(server, f"/{server.token}/{path}")
        assert (answer.status, answer.getheader("Content-Type").split(";")[0]) == (200, kind), path
    head = ask(server, f"/{server.token}/data/meta.js", "HEAD")
    assert (head.status, head.read()) == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/data/meta.js", "/wrong/data/meta.js", "//", "/%2e%2e/"],
)
def test_requests_without_the_token_are_refused(server: Server, path: str) -> None:
    assert ask(server, path).status == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
def test_requests_to_another_host_are_refused(server: Server, host: str) -> None:
    assert ask(server, f"/{server.token}/data/meta.js", host=host).status == 403


def test_localhost_is_the_same_host(server: Server) -> None:
    assert ask(server, f"/{server.token}/data/meta.js", host=f"localhost:{server.server_port}").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "data/../../../etc/passwd",
        "pictures/0/120.webp",
        "pictures/0/-1.webp",
        "pictures/0/../../x.webp",
        "data/rows-1.js",
        "data/rows.js",
        "data/environment.js",
        "page/main.js",
    ],
)
def test_there_is_nothing_else(server: Server, path: str) -> None:
    assert ask(server, f"/{server.token}/{path}").status == 404


def test_other_methods_are_refused(server: Server) -> None:
    assert ask(server, f"/{server.token}/", "POST").status == 501


def test_a_taken_port_is_refused_with_a_fix(server: Server) -> None:
    with pytest.raises(RequestError) as caught:
        Server(Viewer(small_collection), server.server_port)
    assert caught.value.where == "--port"
    assert f"port {server.server_port} of 127.0.0.1 cannot be used" in caught.value.what
    assert "a free port is then chosen" in str(caught.value.fix)


def test_the_served_page_works_in_a_browser(server: Server, watch: Callable[..., Watched]) -> None:
    watched = watch()
    page = watched.open(server.address)
    assert watched.count == "120 images"
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator(".card img").first.evaluate(width) == 60
    page.click(".card[data-place='0']")
    assert page.locator(".stage img").evaluate(width) == 60
    assert any("/photos/0/0.webp" in url for url in watched.requests)


def test_a_run_that_goes_on_refreshes_itself(
    two_runs: tuple[Path, Path], tmp_path: Path, watch: Callable[..., Watched]
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(two_runs[0], run_dir)
    environment = json.loads((run_dir / "environment.json").read_text())
    finished_at = environment.pop("finished_at")
    (run_dir / "environment.json").write_text(json.dumps(environment))
    results = [run_dir / kind / f"{split}.json" for kind in ("candidates", "scores") for split in ("test", "val")]
    kept = {file: file.read_bytes() for file in results}
    for file in results:
        file.unlink()
    log = run_dir / "log.jsonl"
    step = next(line for line in log.read_text().splitlines() if '"event": "step"' in line)
    log.write_text(step + "\n")

    viewer = Viewer(
        lambda: view_runs([run_dir]),
        lambda: results_version([run_dir], None),
        lambda collection: systems_of([run_dir], collection.split),
    )
    with serving(viewer) as server:
        page = watch().open(server.address)
        assert page.get_attribute("#tab-training", "aria-selected") == "true", "there are no images yet"
        page.wait_for_selector("#status:has-text('epoch 1, step ')")
        later = {**json.loads(step), "step": 77, "num_steps": 99}
        log.write_text(step + "\n" + json.dumps(later) + "\n")
        page.wait_for_selector("#status:text-is('epoch 1, step 77 of 99')")
        assert "at step 77" in page.locator("svg.chart").first.get_attribute("aria-label")

        for file, content in kept.items():
            file.write_bytes(content)
        (run_dir / "environment.json").write_text(json.dumps({**environment, "finished_at": finished_at}))
        page.click("#tab-images")
        page.wait_for_selector(".card")
        assert page.text_content("#count") == "4 images"


def test_results_that_change_are_read_again() -> None:
    found = [small_collection()]
    viewer = Viewer(lambda: found[-1], lambda: found[-1].version)
    found.append(replace(found[0], title="other results", version="2"))
    content = viewer.content("data/meta.js")
    assert content is not None
    assert "other results" in content[1].decode()
    assert isinstance(viewer.collection, Collection)
