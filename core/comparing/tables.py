"""A comparison as a table: plain text, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RequestError, choices
from ..resampling import Interval
from ..spec.settings import TrainSettings
from .comparison import Comparison, Difference, ImageChange

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def written(comparison: Comparison, form: str, *, by: str | None = None) -> str:
    """Returns the table, the way in which it was computed, and (not in LaTeX) the images that changed most in score `by`.

    `by` defaults to the default of `/train/best_by`, or else to the first score with a value per image. Raises
    `RequestError` for a score that has none.
    """
    images = _images(comparison, by)
    parts = {
        "text": lambda: [*_text(_rows(comparison)), "", *explanation(comparison), *images],
        "markdown": lambda: [*_markdown(_rows(comparison)), "", " ".join(explanation(comparison)), *_fenced(images)],
        "latex": lambda: _latex(_rows(comparison), explanation(comparison)),
    }
    return "\n".join(parts[form]())


def explanation(comparison: Comparison) -> list[str]:
    """Returns sentences that say how the differences, intervals and p-values were computed."""
    first = _plain(next(iter(comparison.systems)))
    found = [f"Difference: the system minus {first}, on the same {comparison.num_images} images."]
    resamples = f"{comparison.num_resamples:,} resamples of the images"
    if comparison.has_groups:
        found += [
            "Values: means over the runs of a system.",
            f"95 % intervals and p: Student's t. The variance is that over {resamples} with all runs fixed, plus that "
            "between the runs of each system, divided by their number.",
        ]
    else:
        found += [
            f"95 % interval: paired bootstrap, {resamples}.",
            f"p: paired approximate randomisation, {comparison.num_trials:,} trials, two-sided.",
        ]
    others = len(comparison.systems) - 1
    if others > 1:
        found.append(f"p is corrected by Holm's method for the {others} comparisons of each score.")
    if any(each.interval is None for each in comparison.differences):
        found.append("none: the score cannot be resampled.")
    counts = "better / equal / worse: the number of images by their value against the first system."
    return [*found, counts, f"Seed {comparison.seed}."]


def _rows(comparison: Comparison) -> list[list[str]]:
    """Returns the heading and the rows: of each score, the first system and then the others."""
    p = "p (Holm)" if len(comparison.systems) > 2 else "p"
    rows = [["score", "system", "value", "difference", "95 % interval", p, "better / equal / worse"]]
    by_place = {(each.score, each.system): each for each in comparison.differences}
    for score, systems in comparison.scores.items():
        for name, found in systems.items():
            difference = by_place.get((score, name))
            cells = _cells(difference) if difference else [""] * 4
            rows.append([_plain(score), _plain(name), f"{found.value:.4f}", *cells])
    return rows


def _cells(difference: Difference) -> list[str]:
    counts = (difference.better, difference.equal, difference.worse)
    p = difference.p_corrected
    return [
        f"{difference.value:+.4f}",
        _interval(difference.interval),
        "none" if p is None else f"{p:.4f}" if p >= 0.0001 else "<0.0001",
        "none" if counts[0] is None else " / ".join(map(str, counts)),
    ]


def _interval(interval: Interval | None) -> str:
    return "none" if interval is None else f"{interval.low:+.4f} to {interval.high:+.4f}"


def _text(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|---|---|" + "---:|" * (len(rows[0]) - 2), *lines[1:]]


def _fenced(lines: Sequence[str]) -> list[str]:
    return ["", "```text", *[line.replace("```", "'''") for line in lines[1:]], "```"] if lines else []


def _latex(rows: Sequence[Sequence[str]], sentences: Sequence[str]) -> list[str]:
    lines = [
        " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in row) + r" \\" for row in rows
    ]
    closing = ["% " + sentence for sentence in sentences]
    columns = "ll" + "r" * (len(rows[0]) - 2)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return [*closing, *head, *lines[1:], r"\bottomrule", r"\end{tabular}"]


def _images(comparison: Comparison, by: str | None) -> list[str]:
    """Returns the images that changed most in the score `by`, for each system."""
    known = [each.score for each in comparison.differences if each.better is not None]
    if by is not None and by not in known:
        what = f'no value per image of a score "{by}" was compared.'
        raise RequestError(what, where="--by", fix=choices("Scores with values per image", dict.fromkeys(known), by))
    usual = TrainSettings.model_fields["best_by"].default
    chosen = by or (usual if usual in known else next(iter(known), None))
    found = []
    for each in comparison.differences:
        if each.score == chosen:
            found += _changes(comparison, each, "gained most", each.gained)
            found += _changes(comparison, each, "lost most", each.lost)
    return found


def _changes(comparison: Comparison, difference: Difference, what: str, changes: Sequence[ImageChange]) -> list[str]:
    if not changes:
        return []
    first, other = _plain(next(iter(comparison.systems))), _plain(difference.system)
    lines = ["", f"Images that {what} {_plain(difference.score)} in {other}, against {first}:"]
    for each in changes:
        lines.append(f"  {_plain(str(each.image_id))}: {each.first:.4f} to {each.other:.4f}")
        lines += [f"    {first}: {_plain(each.first_caption)}", f"    {other}: {_plain(each.other_caption)}"]
    return lines


def _plain(text: str) -> str:
    """Returns text on one line that does nothing to a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
