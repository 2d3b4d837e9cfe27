"""Images on the web as sources: one GET each, with a limit on time and on size."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from ...errors import UnreadableSource

if TYPE_CHECKING:
    import httpx2

_CHUNK = 1 << 16
_NO_IMAGES = ("text/", "application/json", "application/pdf", "video/", "audio/")


@dataclass(frozen=True)
class UrlSource:
    """An image behind a URL (http or https). It follows up to five redirects, and is downloaded once.

    `timeout_seconds` limits the whole download, and `max_bytes` its size.
    """

    url: str
    timeout_seconds: float = 30.0
    max_bytes: int = 64_000_000

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    def read(self) -> bytes:
        """The body of the answer. Raises `UnreadableSource` for an error, for a page, and beyond the limits."""
        return self._body

    def identity(self) -> None:
        """None: only a download shows whether the image has changed."""
        return

    @cached_property
    def _body(self) -> bytes:
        import httpx2

        deadline = time.monotonic() + self.timeout_seconds
        try:
            with _client().stream("GET", self.url, timeout=self.timeout_seconds) as answer:
                self._check(answer)
                return self._received(answer, deadline)
        except httpx2.TimeoutException as err:
            raise self._too_slow() from err
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as err:
            raise self._unfetched(str(err) or type(err).__name__) from err

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


@lru_cache(maxsize=1)
def _client() -> httpx2.Client:
    """One client per process keeps connections open. `identity`: an image is compressed already."""
    import httpx2

    headers = {"User-Agent": f"capfw/{version('capfw')}", "Accept": "image/*", "Accept-Encoding": "identity"}
    return httpx2.Client(follow_redirects=True, max_redirects=5, headers=headers)
