"""The page of the run directory names every file a run writes, and no other; and what stands in the JSON files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from capfw import load_spec, run
from capfw.core.engine.observing.json_log import JsonLog

ROOT = Path(__file__).resolve().parents[2]
STANDS_FOR = {"N": r"\d+", "SPLIT": "(val|test)", "ENCODER": r"[a-z0-9-]+", "KEY": "[0-9a-f]{16}"}


def rows(page: str, heading: str) -> list[str]:
    """The first column of the table under a heading, without its backquotes."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    section = re.split(r"^#+ ", text, flags=re.MULTILINE)
    [found] = [part for part in section if part.startswith(heading + "\n")]
    return re.findall(r"^\| `([^`]+)`", found, re.MULTILINE)


def pattern(row: str) -> re.Pattern[str]:
    """The paths a row stands for; a row that ends with a slash is a folder with whatever is in it."""
    words = re.split(r"(\b[A-Z]+\b)", row)
    return re.compile(
        "".join(STANDS_FOR.get(word, re.escape(word)) for word in words) + (".*" if row[-1] == "/" else "")
    )


def files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def check(listed: list[str], written: list[str]) -> None:
    patterns = {row: pattern(row) for row in listed}
    assert [file for file in written if not any(p.fullmatch(file) for p in patterns.values())] == [], "not on the page"
    assert [row for row, p in patterns.items() if not any(map(p.fullmatch, written))] == [], "not written"


def test_page_names_every_file_of_a_run_and_no_other(workshop: Path) -> None:
    check(rows("run-directory.md", "Files"), files(workshop / "runs/quickstart"))


def test_page_names_every_file_of_a_feature_store(folder: Path) -> None:
    run(load_spec("spec.json"), until="extract")  # its images are files, unlike the quickstart's
    check(rows("run-directory.md", "The feature store"), files(folder / "runs/features"))


def test_page_names_every_fact_of_the_environment(workshop: Path) -> None:
    environment = json.loads((workshop / "runs/quickstart/environment.json").read_text())
    assert sorted(rows("run-directory.md", "environment.json")) == sorted(environment)


def test_page_names_every_event_of_the_log(workshop: Path) -> None:
    lines = (workshop / "runs/quickstart/log.jsonl").read_text().splitlines()
    assert sorted(rows("run-directory.md", "log.jsonl")) == sorted({json.loads(line)["event"] for line in lines})
    assert len([name for name in vars(JsonLog) if not name.startswith("_")]) == len(
        rows("run-directory.md", "log.jsonl")
    )


def test_page_of_scores_names_every_fact_of_the_signature(workshop: Path) -> None:
    scores = json.loads((workshop / "runs/quickstart/scores/test.json").read_text())
    assert sorted(rows("scores.md", "The signature")) == sorted(scores["signature"])
