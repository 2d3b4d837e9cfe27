"""The table of a sweep's results, as rows of text, Markdown and CSV; and the files of the results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from ..engine.atomic import write_json, write_text
from ..resampling import CONFIDENCE
from .intervals import Mean
from .results import SettingResult, SweepResults

FILES = ("results.json", "results.csv", "results.md")


def header(results: SweepResults) -> list[str]:
    """The heads of the columns."""
    return ["rank", *results.columns, f"val {results.best_by}", "seeds", "trained", "parameters", "time"]


def rows(results: SweepResults) -> list[list[str]]:
    """One row of text per setting, the best one first; empty cells where nothing finished."""
    return [_row(setting) for setting in results.settings]


def _row(setting: SettingResult) -> list[str]:
    return [
        "" if setting.rank is None else str(setting.rank),
        *setting.labels,
        "" if setting.score is None else str(setting.score),
        _seeds(setting),
        _count(setting.mean_of("num_trained")),
        _count(setting.mean_of("num_parameters")),
        "" if (seconds := setting.mean_of("seconds")) is None else f"{seconds:.1f} s",
    ]


def _seeds(setting: SettingResult) -> str:
    """The number of seeds, or how many of them finished and failed."""
    num, num_failed = len(setting.trials), sum(trial.state == "failed" for trial in setting.trials)
    if len(setting.finished) == num:
        return str(num)
    return f"{len(setting.finished)} of {num}" + f", {num_failed} failed" * (num_failed > 0)


def _count(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}"


def setting_in_words(setting: SettingResult, columns: Sequence[str]) -> str:
    """A setting in one line: "mapper=mlp, lr=0.001"; "the base spec" where it changes nothing."""
    pairs = [f"{column}={label}" for column, label in zip(columns, setting.labels, strict=True) if label]
    return ", ".join(pairs) or "the base spec"


def caption_of(results: SweepResults) -> str:
    """The sentence that says what the scores of the table are."""
    better = "lower is better" if results.is_lower_better else "higher is better"
    return (
        f"{results.best_by} of the val split, {better}: the mean over the seeds, ± half of its {CONFIDENCE:.0%} "
        "interval (Student's t). Time: the mean of the runs."
    )


def failures(results: SweepResults) -> list[tuple[str, str]]:
    """The name and the error of each trial that failed."""
    return [(each.trial.name, each.error) for each in results.trials if each.state == "failed"]


def to_markdown(results: SweepResults) -> str:
    """The results as a page of Markdown."""
    lines = [f"# {results.folder.name}", ""]
    lines += [results.description, ""] if results.description else []
    lines += [caption_of(results), ""]
    head = header(results)
    lines += [_markdown_row(head), _markdown_row(["---"] * len(head)), *map(_markdown_row, rows(results)), ""]
    if results.chosen is not None:
        lines += [f"Best on val: {setting_in_words(results.chosen, results.columns)}.", ""]
    if results.test:
        pairs = [[name, str(mean)] for name, mean in results.test.items()]
        lines += ["Its scores on the test split:", "", "| score | value |", "| --- | --- |"]
        lines += [*map(_markdown_row, pairs), ""]
    lines += [f"- {notice}" for notice in results.notices] + [""] * bool(results.notices)
    if failed := failures(results):
        lines += ["Failed:", ""]
        lines += [f"- {name}: {' '.join(error.split())}" for name, error in failed] + [""]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    clean = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(clean)} |"


def to_csv(results: SweepResults) -> str:
    """The settings as CSV: a column for each place, and the mean and interval of `/train/best_by` and of each val score."""
    names = list(dict.fromkeys(name for setting in results.settings for name in setting.val))
    scores = ["score", *names]
    ends = [f"{name}{end}" for name in scores for end in ("", " low", " high")]
    counts = ["num_trained", "num_parameters", "seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", *results.places, *ends, "num_seeds", "num_finished", *counts])
    for setting in results.settings:
        means: Mapping[str, Mean | None] = {"score": setting.score, **setting.val}
        writer.writerow(
            [
                setting.rank,
                *(_cell(setting.values[place]) if place in setting.values else None for place in results.places),
                *(end for name in scores for end in _ends(means.get(name))),
                len(setting.trials),
                len(setting.finished),
                *(setting.mean_of(count) for count in counts),
            ]
        )
    return text.getvalue()


def _cell(value: JsonValue) -> JsonValue:
    """A string or a number as it is, anything else as JSON."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)


def _ends(mean: Mean | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if mean is None else (mean.mean, mean.low, mean.high)


def write_results(results: SweepResults) -> None:
    """Writes results.json, results.csv and results.md into the folder of the sweep."""
    as_json, as_csv, as_markdown = (results.folder / name for name in FILES)
    write_json(as_json, results.to_json())
    write_text(as_csv, to_csv(results))
    write_text(as_markdown, to_markdown(results))
