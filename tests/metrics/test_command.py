"""Metric "command": a program reads captions and writes scores; every way in which it can fail says so."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from capfw.core.errors import SpecError
from capfw.core.protocols import CapfwError, Captioned, DataError, FileSource, MemorySource, MissingLibrary, Scores
from capfw.plugins.metrics.command import CommandConfig
from capfw.plugins.metrics.command.model import Command

CANDIDATES = {7: "a dog", "7": "two\ncats \u2028 sleep"}
REFERENCES = {7: ("a brown dog",), "7": ("cats", "two cats")}
HIGHER = {"Words": "higher"}


def metric(folder: Path, body: str, **options: object) -> Command:
    (folder / "score.py").write_text(f"import json, sys, os, time\n{body}", encoding="utf-8")
    options = {"command": (sys.executable, "score.py"), "scores": HIGHER, "folder": str(folder), **options}
    return Command(CommandConfig(**options))


def score(folder: Path, body: str, captioned: Captioned | None = None, **options: object) -> Scores:
    return metric(folder, body, **options).score(captioned or Captioned(CANDIDATES, REFERENCES))


def test_the_program_gets_a_line_per_image_and_its_values_are_the_scores(tmp_path: Path) -> None:
    body = (
        "lines = [json.loads(line) for line in sys.stdin]\n"
        "json.dump(lines, open('seen.json', 'w'))\n"
        "print(json.dumps({'Words': [2, 3], 'Errors': 0.5, 'F': {'corpus': 0.7, 'per_image': [0.5, 1]}}))"
    )
    scores = {"Words": "higher", "Errors": "lower", "F": "higher"}
    found = score(tmp_path, body, scores=scores)
    assert found.corpus == {"Words": 2.5, "Errors": 0.5, "F": 0.7}
    assert found.per_image == {"Words": {7: 2.0, "7": 3.0}, "F": {7: 0.5, "7": 1.0}}
    assert json.loads((tmp_path / "seen.json").read_text()) == [
        {"image_id": 7, "candidate": "a dog", "references": ["a brown dog"]},
        {"image_id": "7", "candidate": "two\ncats \u2028 sleep", "references": ["cats", "two cats"]},
    ]
    assert CommandConfig(command=("x",), scores=scores).lower_is_better() == ("Errors",)


def test_the_program_gets_several_captions_and_the_paths_of_images(tmp_path: Path) -> None:
    (tmp_path / "7.jpg").write_bytes(b"of a file")
    sources = {7: FileSource(tmp_path / "7.jpg"), "7": MemorySource(b"of memory")}
    n_best = {7: ("a dog", "dogs"), "7": (CANDIDATES["7"], "cats")}
    body = (
        "lines = [json.loads(line) for line in sys.stdin]\n"
        "assert [line['n_best'][1] for line in lines] == ['dogs', 'cats']\n"
        "print(json.dumps({'Words': [len(open(line['image'], 'rb').read()) for line in lines]}))"
    )
    captioned = Captioned(CANDIDATES, REFERENCES, sources, n_best)
    assert score(tmp_path, body, captioned, images=True).per_image == {"Words": {7: 9.0, "7": 9.0}}
    with pytest.raises(DataError, match="metric command needs the images"):
        score(tmp_path, body, images=True)
    with pytest.raises(DataError, match="no captions to score"):
        score(tmp_path, body, Captioned({}, {}))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("print('done')", "it wrote no JSON (Expecting value: line 1 column 1 (char 0)), but 'done'"),
        ("print([1, 2])", "it wrote no JSON object, but '[1, 2]'"),
        ("print('{}')", "it wrote the scores none; the spec names Words"),
        ("print(json.dumps({'Words': 1, 'Other': 2}))", "it wrote the scores Words, Other; the spec names Words"),
        ("print(json.dumps({'Words': [1]}))", "Words has 1 values for 2 images"),
        ("print(json.dumps({'Words': [1, float('nan')]}))", "Words of image 7 is NaN, not a finite number"),
        ("print(json.dumps({'Words': '1'}))", 'Words is "1", not a finite number'),
        ("print(json.dumps({'Words': {'mean': 1}}))", 'Words has the entries mean, not "corpus" and "per_image"'),
    ],
)
def test_an_answer_that_is_no_score_is_refused_in_words(tmp_path: Path, body: str, what: str) -> None:
    with pytest.raises(CapfwError) as caught:
        score(tmp_path, body)
    assert str(caught.value).startswith(f"the program of metric command failed: {what}.")
    assert "one number per line of the input" in str(caught.value)


def test_the_end_of_the_standard_error_explains_a_failure(tmp_path: Path) -> None:
    body = "print('early', file=sys.stderr)\nfor n in range(5): print('line', n, file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(CapfwError, match="the program of metric command failed: it ended with code 3") as caught:
        score(tmp_path, body)
    assert "line 0" in str(caught.value)
    assert "early" not in str(caught.value)


def test_a_program_that_takes_too_long_ends_with_those_it_started(tmp_path: Path) -> None:
    child = "import os, time; open('child', 'w').write(str(os.getpid())); time.sleep(60)"
    body = f"import subprocess\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
    with pytest.raises(CapfwError, match="did not finish within timeout_seconds = 2 and was stopped"):
        score(tmp_path, body, timeout_seconds=2)
    pid = int((tmp_path / "child").read_text())
    until = time.monotonic() + 30
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc").is_dir()


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    body = "print(json.dumps({'Words': len(sys.argv[1])}))"
    command = (sys.executable, "score.py", "$HOME; touch made")
    assert score(tmp_path, body, command=command).corpus == {"Words": 17.0}
    assert not (tmp_path / "made").exists()
    with pytest.raises(SpecError, match="/command"):
        CommandConfig(command="python score.py", scores=HIGHER)


def test_a_program_that_is_missing_or_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingLibrary, match='the program "no-such-program", which is not on the PATH') as caught:
        metric(tmp_path, "", command=("no-such-program",))
    assert caught.value.option == "command"
    with pytest.raises(MissingLibrary, match=r'the program "\./score\.py", which is not in .*, or cannot be executed'):
        metric(tmp_path, "", command=("./score.py",))
    (tmp_path / "score").write_text("no program at all")
    (tmp_path / "score").chmod(0o755)
    with pytest.raises(
        CapfwError, match=r"cannot be started: Exec format error\.\n.*Check that .*score can be executed"
    ):
        score(tmp_path, "", command=("./score",))


def test_the_signature_names_the_command_and_its_version(tmp_path: Path) -> None:
    signature = metric(tmp_path, "", version="1.2", command=(sys.executable, "score.py", "two words")).signature()
    assert signature["library"] == "1.2"
    assert signature["variant"].endswith("score.py 'two words'")
