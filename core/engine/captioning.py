"""Captions a collection of images: one row per image, with the options of one call, and an estimate beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CapfwError, RequestError
from ..protocols import GenerateOptions, Source, changed_options
from ..registry import Registry
from ..spec import Overrides, RunSpec, load_spec, pairs_of
from ..spec.document import given_options
from .captioner import Captioner
from .generate import Caption
from .inputs.finding import FoundImages, source_of
from .inputs.urls import downloaded_ahead

_NUM_MEASURED = 16


@dataclass(frozen=True)
class Row:
    """An image with its captions, best first, or with the reason why it has none."""

    name: str
    captions: tuple[Caption, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, object]:
        """`{"file": ..., "captions": [{"caption": ..., "log_prob": ...}]}`, or "error" in place of "captions"."""
        if self.error is not None:
            return {"file": self.name, "error": self.error}
        made = [{"caption": each.text, "log_prob": each.log_prob} for each in self.captions]
        return {"file": self.name, "captions": made}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """The row of `to_json`."""
        made = tuple(Caption(each["caption"], each["log_prob"]) for each in value.get("captions", ()))
        return cls(value["file"], made, value.get("error"))


def caption_rows(captioner: Captioner, sources: Iterable[Source], options: GenerateOptions) -> Iterator[Row]:
    """Captions the sources in batches, in order. An image that cannot be read becomes a row with an error.

    A few URLs are downloaded at once.
    """
    for source, captions in captioner.stream(downloaded_ahead(sources), options):
        assert isinstance(source, Source)
        if isinstance(captions, CapfwError):
            yield Row(source.name, error=captions.what)
        else:
            yield Row(source.name, captions)


def changed_generation(
    spec: RunSpec,
    overrides: Overrides,
    num_captions: int | None = None,
    *,
    registry: Registry | None = None,
) -> GenerateOptions:
    """The spec's options of generation with `overrides` (JSON pointers), and with `num_captions` captions per image.

    Another method keeps only the options that all methods have. `num_captions` changes the method and the beams as
    `changed_options` does. Raises `RequestError` for pointers outside /generate, and `SpecError` for wrong values.
    """
    changes = pairs_of(overrides)
    for place, _ in changes:
        if place != "/generate" and not place.startswith("/generate/"):
            fix = "Change /generate/...; for anything else train another run."
            raise RequestError(f"{place} cannot change when a run captions.", where="--set (overrides)", fix=fix)
    options = load_spec(spec.to_json(), registry=registry, overrides=changes, check_files=False).generate
    if num_captions is None:
        return options
    given = given_options("generate", changes)
    if "num_captions" in given:
        what = "-n and --set /generate/num_captions both give the number of captions."
        raise RequestError(what, where="-n", fix="Leave one of them out.")
    chosen = {name: given[name] for name in ("method", "num_beams") if name in given}
    return changed_options(options, {**chosen, "num_captions": num_captions})


@dataclass(frozen=True)
class Estimate:
    """The time and the bytes of output for `num_images`, from the measured time and output of `num_measured` of them."""

    num_images: int
    num_measured: int
    num_unreadable: int
    seconds: float
    num_bytes: int


def estimate(
    captioner: Captioner, found: FoundImages, options: GenerateOptions, write: Callable[[Row], str]
) -> Estimate:
    """Captions a few of the images, spread over all of them, and extrapolates. `write` gives the output of a row."""
    count = min(len(found), _NUM_MEASURED)
    chosen = [source_of(found.images[place * len(found) // count]) for place in range(count)]
    list(caption_rows(captioner, chosen[:1], options))  # the first call prepares the device and the libraries
    started = time.perf_counter()
    rows = list(caption_rows(captioner, chosen, options))
    factor = len(found) / count if count else 0.0
    return Estimate(
        len(found),
        count,
        sum(row.error is not None for row in rows),
        (time.perf_counter() - started) * factor,
        round(sum(len(write(row).encode()) for row in rows) * factor),
    )
