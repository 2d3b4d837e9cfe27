"""Images on the web as sources: one GET each, with a limit on time and on size."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from ...errors import UnreadableSource
from ...protocols import Source

if TYPE_CHECKING:
    import httpx2

_CHUNK = 1 << 16
_NUM_THREADS = 8
_NO_IMAGES = ("text/", "application/json", "application/pdf", "video/", "audio/")


@dataclass
class UrlSource:
    """An image behind a URL (http or https). It follows up to five redirects, and is downloaded once, also without success.

    `timeout_seconds` limits the whole download, and `max_bytes` its size.
    """

    url: str
    timeout_seconds: float = 30.0
    max_bytes: int = 64_000_000
    _outcome: bytes | UnreadableSource | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    def read(self) -> bytes:
        """The body of the answer. Raises `UnreadableSource` for an error, for a page, and beyond the limits."""
        if self._outcome is None:
            self._outcome = self._fetched()
        if isinstance(self._outcome, UnreadableSource):
            raise self._outcome
        return self._outcome

    def identity(self) -> None:
        """None: only a download shows whether the image has changed."""
        return

    def _fetched(self) -> bytes | UnreadableSource:
        """The body, or the reason why there is none."""
        import httpx2

        deadline = time.monotonic() + self.timeout_seconds
        try:
            with _client().stream("GET", self.url, timeout=self.timeout_seconds) as answer:
                self._check(answer)
                return self._received(answer, deadline)
        except UnreadableSource as err:
            return err
        except httpx2.TimeoutException:
            return self._too_slow()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as err:
            return self._unfetched(str(err) or type(err).__name__)

    def _check(self, answer: httpx2.Response) -> None:
        if not answer.is_success:
            raise self._unfetched(f"HTTP {answer.status_code} {answer.reason_phrase}".rstrip())
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith(_NO_IMAGES):
            raise UnreadableSource(f"is not an image: the server sent {kind}", where=self.url)

    def _received(self, answer: httpx2.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in answer.iter_bytes(_CHUNK):
            body += chunk
            if len(body) > self.max_bytes:
                raise self._unfetched(f"it has more than {self.max_bytes / 1e6:g} MB")
            if time.monotonic() > deadline:
                raise self._too_slow()
        return bytes(body)

    def _too_slow(self) -> UnreadableSource:
        return self._unfetched(f"it did not arrive within {self.timeout_seconds:g} seconds")

    def _unfetched(self, reason: str) -> UnreadableSource:
        return UnreadableSource(f"cannot be fetched: {reason}", where=self.url)


def downloaded_ahead(sources: Iterable[Source]) -> Iterator[Source]:
    """The same sources in order. A few URLs are downloaded at once, shortly before their turn."""
    pool = ThreadPoolExecutor(_NUM_THREADS)
    waiting: deque[tuple[Source, Future[None] | None]] = deque()
    try:
        for source in sources:
            waiting.append((source, pool.submit(_download, source) if isinstance(source, UrlSource) else None))
            if len(waiting) > _NUM_THREADS:
                yield _arrived(*waiting.popleft())
        while waiting:
            yield _arrived(*waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _arrived(source: Source, download: Future[None] | None) -> Source:
    if download is not None:
        download.result()
    return source


def _download(source: UrlSource) -> None:
    with suppress(UnreadableSource):  # the source keeps its error
        source.read()


@lru_cache(maxsize=1)
def _client() -> httpx2.Client:
    """One client per process keeps connections open. `identity`: an image is compressed already."""
    import httpx2

    headers = {"User-Agent": f"capfw/{version('capfw')}", "Accept": "image/*", "Accept-Encoding": "identity"}
    return httpx2.Client(follow_redirects=True, max_redirects=5, headers=headers)
