"""`report.html`: scores, curves, and the images with their captions, in one file that loads nothing else.

`report_of` collects the data of the page, `charts.py` lays out its charts, and `templates/` has the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from ...errors import UnreadableSource
from ...protocols import KINDS, Sample, thumbnail
from ...spec import RunSpec
from ...viewing.history import History, read_history
from ...viewing.page import palette
from ..atomic import write_text
from ..evaluation import Evaluation
from ..generate import Caption
from ..inputs.extraction import skip_notice
from ..run_directory import RunDirectory
from .charts import FRAME, Chart, line_chart, means

_MOST_IMAGES = 60
_MOST_POINTS = 400
_MOST_ROWS = 200


@dataclass(frozen=True)
class Card:
    """An image of the report. `thumbnail` is a data URL, empty where there is no picture of the source."""

    image_id: object
    thumbnail: str
    captions: Sequence[Caption]
    references: Sequence[str]
    score: float | None


@dataclass(frozen=True)
class Unreadable:
    """An image that the run left out, with the reason."""

    split: str
    image_id: str
    source: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The data of the page. `chosen` explains which images have a card. `facts` is the run's environment.json."""

    title: str
    evaluation: Evaluation
    spec: object
    facts: Mapping[str, Any]
    history: History
    ranked_by: str
    chosen: str
    cards: Sequence[Card]
    unreadable: Sequence[Unreadable]
    warnings: Sequence[str]


def write_report(
    directory: RunDirectory, spec: RunSpec, evaluation: Evaluation, splits: Mapping[str, Sequence[Sample]]
) -> Path:
    """Writes `report.html`. `splits` has all samples of the run, also those that could not be read."""
    environment = Environment(
        loader=PackageLoader("capfw.core.engine.observing", "templates"),
        autoescape=select_autoescape(),
        trim_blocks=True,
    )
    environment.globals |= {"frame": FRAME, "palette": palette()}
    report = report_of(directory, spec, evaluation, splits)
    html = environment.get_template("report.html").render(
        report=report,
        training=training_charts(report.history, evaluation.step, _unit(spec, report.history)),
        scores=score_charts(report.history, evaluation.step, report.ranked_by),
        most_rows=_MOST_ROWS,
    )
    file = directory.path / "report.html"
    write_text(file, html)
    return file


def report_of(
    directory: RunDirectory, spec: RunSpec, evaluation: Evaluation, splits: Mapping[str, Sequence[Sample]]
) -> Report:
    """Collects the data of the page, with up to 60 images: low, middle and high values of the score `/train/best_by`."""
    facts, history = directory.environment, read_history(directory.path / "log.jsonl")
    ranked_by, ranked = _ranked(evaluation, splits[evaluation.split], spec.train.best_by)
    unreadable = _unreadable(facts, splits)
    skipped = {skip_notice(each.split, each.image_id, each.reason) for each in unreadable}
    return Report(
        directory.path.name,
        evaluation,
        spec.to_json(),
        facts,
        history,
        ranked_by,
        _choice(len(ranked), ranked_by, evaluation.split),
        [_card(sample, evaluation, ranked_by) for sample in _spread(ranked)],
        unreadable,
        [text for text in history.warnings if text not in skipped],
    )


def training_charts(history: History, best_step: int, unit: str) -> list[Chart]:
    """Charts of the training loss by step, of the val loss by epoch, and of each named loss where there are several."""

    def by_step(title: str, values: Mapping[int, float]) -> Chart | None:
        thinned, n = means(values, _MOST_POINTS)
        label = f"{unit}; means of {n} log lines" if n > 1 else unit
        return line_chart(thinned, title=f"{title} by step", x="step", y=label)

    val_losses = {epoch.number: epoch.val_loss for epoch in history.epochs if epoch.val_loss is not None}
    best = _best_epoch(history, best_step)
    found = [
        by_step("Training loss", history.total),
        line_chart(val_losses, title="Validation loss by epoch", x="epoch", y="nats per token", best=best),
    ]
    if len(history.losses) > 1:
        found += [by_step(f"Training loss {name}", values) for name, values in history.losses.items()]
    return [chart for chart in found if chart]


def score_charts(history: History, best_step: int, first: str) -> list[Chart]:
    """A chart of each score of the val split by epoch; that of the score `first` comes first."""
    best, found = _best_epoch(history, best_step), []
    for name in sorted(history.score_names, key=lambda name: name != first):
        values = {epoch.number: epoch.scores[name] for epoch in history.epochs if name in epoch.scores}
        found.append(line_chart(values, title=f"{name} by epoch", x="epoch", y="score", best=best))
    return [chart for chart in found if chart]


def _best_epoch(history: History, step: int) -> int | None:
    return next((epoch.number for epoch in history.epochs if epoch.step == step), None)


def _unit(spec: RunSpec, history: History) -> str:
    """The unit of the training loss. The log does not have it; that of the default objective is known."""
    default = KINDS["objective"].default
    is_default = default is not None and spec.train.objective.name == default["name"] and len(history.losses) == 1
    return "nats per token" if is_default else "nats per token or per row"


def _ranked(evaluation: Evaluation, samples: Sequence[Sample], best_by: str) -> tuple[str, list[Sample]]:
    name = best_by if best_by in evaluation.per_image else next(iter(evaluation.per_image), "")
    values = evaluation.per_image.get(name, {})
    captioned = [sample for sample in samples if sample.image_id in evaluation.captions]
    return name, sorted(captioned, key=lambda sample: values.get(sample.image_id, 0.0))


def _spread(ranked: Sequence[Sample]) -> list[Sample]:
    """A third each from the low end, the middle and the high end."""
    if len(ranked) <= _MOST_IMAGES:
        return list(ranked)
    third, middle = _MOST_IMAGES // 3, len(ranked) // 2 - _MOST_IMAGES // 6
    return [*ranked[:third], *ranked[middle : middle + third], *ranked[-third:]]


def _choice(count: int, ranked_by: str, split: str) -> str:
    """The sentence that says how many images of all are shown, which, and where the others are."""
    order = f"from the lowest {ranked_by} to the highest" if ranked_by else "in the order of the data set"
    if count <= _MOST_IMAGES:
        return f"All {count:,} images of split {split}, {order}."
    third = _MOST_IMAGES // 3
    ends = f"{third} with the lowest {ranked_by}, {third} from the middle, and {third} with the highest"
    which = ends if ranked_by else f"the first {third}, {third} from the middle, and the last {third}"
    return (
        f"{_MOST_IMAGES} of {count:,} images of split {split}: {which}. "
        f"candidates/{split}.json has the captions of all images, scores/{split}.json their scores."
    )


def _card(sample: Sample, evaluation: Evaluation, score_name: str) -> Card:
    return Card(
        sample.image_id,
        _thumbnail(sample),
        evaluation.captions[sample.image_id],
        sample.references,
        evaluation.per_image.get(score_name, {}).get(sample.image_id),
    )


def _thumbnail(sample: Sample) -> str:
    """A JPEG as a data URL; empty when the bytes are not an image, or are no longer readable."""
    try:
        jpeg = thumbnail(sample.source.read())
    except UnreadableSource:
        return ""
    return "" if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _unreadable(facts: Mapping[str, Any], splits: Mapping[str, Sequence[Sample]]) -> list[Unreadable]:
    """The images that the run left out, of all splits. The keys of environment.json are the ids as text."""
    found = []
    for split, reasons in facts.get("features", {}).get("unreadable", {}).items():
        names = {str(sample.image_id): sample.source.name for sample in splits.get(split, ())}
        found += [Unreadable(split, image_id, names.get(image_id, ""), why) for image_id, why in reasons.items()]
    return found
