"""`report.html`: scores, curves, and the images with their captions, in one file that needs no server."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from ...errors import UnreadableSource
from ...protocols import Sample, thumbnail
from ...spec import RunSpec
from ..atomic import write_text
from ..evaluation import Evaluation
from ..run_directory import RunDirectory
from .json_log import read_epochs, read_log

_MOST_IMAGES = 60


def write_report(directory: RunDirectory, spec: RunSpec, evaluation: Evaluation, samples: Sequence[Sample]) -> Path:
    """Writes `report.html` with up to 60 images: low, middle and high values of the score in `train.best_by`."""
    environment = Environment(
        loader=PackageLoader("capfw.core.engine.observing", "templates"),
        autoescape=select_autoescape(),
        trim_blocks=True,
    )
    log = directory.path / "log.jsonl"
    name, ranked = _ranked(evaluation, samples, spec.train.best_by)
    html = environment.get_template("report.html").render(
        title=directory.path.name,
        evaluation=evaluation,
        spec=spec.to_json(),
        data=directory.environment.get("data", {}),
        ranked_by=name,
        cards=[_card(sample, evaluation, name) for sample in _spread(ranked, _MOST_IMAGES)],
        loss_curve=_polyline([(r["step"], r["loss"]) for r in read_log(log, "step")]),
        epochs=read_epochs(log),
    )
    file = directory.path / "report.html"
    write_text(file, html)
    return file


def _ranked(evaluation: Evaluation, samples: Sequence[Sample], best_by: str) -> tuple[str, list[Sample]]:
    name = best_by if best_by in evaluation.per_image else next(iter(evaluation.per_image), "")
    values = evaluation.per_image.get(name, {})
    return name, sorted(samples, key=lambda sample: values.get(sample.image_id, 0.0))


def _spread(ranked: Sequence[Sample], most: int) -> list[Sample]:
    """A third each from the low end, the middle and the high end."""
    if len(ranked) <= most:
        return list(ranked)
    third, middle = most // 3, len(ranked) // 2 - most // 6
    return [*ranked[:third], *ranked[middle : middle + third], *ranked[-third:]]


def _card(sample: Sample, evaluation: Evaluation, score_name: str) -> dict[str, object]:
    return {
        "image": _thumbnail(sample),
        "id": sample.image_id,
        "captions": evaluation.captions[sample.image_id],
        "references": sample.references,
        "score": evaluation.per_image.get(score_name, {}).get(sample.image_id),
    }


def _thumbnail(sample: Sample) -> str:
    """A JPEG as a data URL; empty when the bytes are not an image, or are no longer readable."""
    try:
        jpeg = thumbnail(sample.source.read())
    except UnreadableSource:
        return ""
    return "" if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _polyline(points: Sequence[tuple[float, float]], width: int = 640, height: int = 160) -> dict[str, object]:
    """The points of an SVG polyline and the axis limits; for two values of one step, the later counts."""
    latest = sorted(dict(points).items())
    if len(latest) < 2:
        return {}
    (first, _), (last, _) = latest[0], latest[-1]
    low, high = min(v for _, v in latest), max(v for _, v in latest)
    scaled = [
        f"{(s - first) / (last - first) * width:.1f},{height - (v - low) / ((high - low) or 1) * height:.1f}"
        for s, v in latest
    ]
    return {"points": " ".join(scaled), "low": low, "high": high, "last": last, "width": width, "height": height}
