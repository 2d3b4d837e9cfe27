"""The rows of a captioning call: each image, and the id and text that the caller gives beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from ...errors import CapfwError, RequestError
from ...protocols import ImageId, Sample, Source
from .given import ImageInput, as_source

ItemT = TypeVar("ItemT")
OneOrSeveral: TypeAlias = ItemT | Iterable[ItemT]
"""One value for one image, or one per image."""


@dataclass(frozen=True)
class Row:
    """One image, with its id and its text where the caller gives them."""

    source: Source
    image_id: ImageId | None
    text: str | None

    def name(self, *, is_sampled: bool) -> ImageId:
        """The id of the image. Without one: its name, or the hash of its bytes where the id decides what is sampled."""
        if self.image_id is not None:
            return self.image_id
        return hashlib.sha256(self.source.read()).hexdigest() if is_sampled else self.source.name


def rows_of(
    images: Iterable[ImageInput],
    ids: OneOrSeveral[ImageId] | None,
    texts: OneOrSeveral[str] | None,
    *,
    is_single: bool,
) -> Iterator[tuple[ImageInput, Row | CapfwError]]:
    """Each image with its row, or with the error where it is no image.

    Raises `RequestError` at once for `ids` or `texts` of a wrong type, and at the end of the images or of the values for
    another number of them.
    """
    return _rows(images, _Beside("ids", ids, is_single), _Beside("texts", texts, is_single), is_single)


def _rows(
    images: Iterable[ImageInput], ids: _Beside[ImageId], texts: _Beside[str], is_single: bool
) -> Iterator[tuple[ImageInput, Row | CapfwError]]:
    for number, image in enumerate(images):
        image_id, text = ids.next(), texts.next()
        if image_id is None and isinstance(image, Sample):
            image_id = image.image_id
        try:
            yield image, Row(as_source(image, "images" if is_single else f"images[{number}]"), image_id, text)
        except CapfwError as err:
            yield image, err
    ids.require_end()
    texts.require_end()


class _Beside(Generic[ItemT]):
    """Values that the caller gives beside the images, one per image."""

    def __init__(self, what: str, values: OneOrSeveral[ItemT] | None, is_single: bool) -> None:
        self._what, self._values = what, None if values is None else _iterator(what, values, is_single)

    def next(self) -> ItemT | None:
        """The next value; None where the caller gave none."""
        if self._values is None:
            return None
        for value in self._values:
            return value
        raise RequestError(f"there are fewer {self._what} than images.", where=self._what, fix="Give one per image.")

    def require_end(self) -> None:
        """Raises `RequestError` when values are left."""
        if self._values is not None and list(islice(self._values, 1)):
            raise RequestError(f"there are more {self._what} than images.", where=self._what, fix="Give one per image.")


def _iterator(what: str, values: OneOrSeveral[ItemT], is_single: bool) -> Iterator[ItemT]:
    if is_single and isinstance(values, str | int):
        return iter([values])
    if isinstance(values, Iterable) and not isinstance(values, str):
        return iter(values)
    raise RequestError(f"{values!r:.60} is no list.", where=what, fix=f"Give a list of {what}, one per image.")
