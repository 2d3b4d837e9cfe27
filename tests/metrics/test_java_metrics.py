"""METEOR's published value where Java is; with a stand-in for Java, what METEOR and SPICE do when things go wrong."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from capfw.core.protocols import CapfwError, Captioned, MissingLibrary
from capfw.plugins.metrics.coco_caption import MeteorConfig, SpiceConfig
from capfw.plugins.metrics.coco_caption.java import package_file
from capfw.plugins.metrics.coco_caption.meteor import Meteor
from capfw.plugins.metrics.coco_caption.spice import Spice

from .conftest import Fakecap

CANDIDATES = {"7": "a dog\nruns ||| fast", 7: ""}
REFERENCES = {"7": ("a dog runs", "two\r\ndogs ||| run <!x|||y>"), 7: ("a cat",)}

ANSWERS = """
for line in sys.stdin:
    log.write(line)
    fields = line.rstrip("\\n").split(" ||| ")
    if fields[0] == "SCORE":
        print(len(fields) - 2, flush=True)
    else:
        print("\\n".join(["0.25"] * (len(fields) - 1) + ["0.5"]), flush=True)
"""
WRITES = """
asked, answered = sys.argv[-4], sys.argv[-2]
captions = json.load(open(asked))
log.write(json.dumps([os.getcwd(), captions]))
scores = [{"image_id": c["image_id"], "scores": {"All": {"f": len(c["refs"]) / 10}}} for c in captions]
json.dump(scores[::-1], open(answered, "w"))
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="needs java, which runs METEOR")
def test_meteor_equals_the_published_value(fakecap: Fakecap) -> None:
    metric = Meteor(MeteorConfig(timeout_seconds=300))
    scores = metric.score(fakecap.captioned)
    assert scores.corpus["METEOR"] == pytest.approx(fakecap.expected["ptb"]["METEOR"], abs=1e-9)
    assert list(scores.per_image["METEOR"]) == list(fakecap.references)
    assert metric.signature()["variant"].startswith("METEOR 1.5")
    rows = np.array([scores.statistics[i] for i in fakecap.references])
    assert metric.corpus_of(rows.sum(0))["METEOR"] == pytest.approx(scores.corpus["METEOR"], abs=1e-12)
    assert metric.corpus_of(rows)["METEOR"] == pytest.approx(list(scores.per_image["METEOR"].values()), abs=1e-12)


def stand_in(folder: Path, body: str, version: str = "11.0.2") -> str:
    """A program that tells its version as Java does, and otherwise runs `body`; leaves `log` and `pid` in `folder`."""
    told = f'openjdk version "{version}" 2020'
    lines = [
        f"#!{sys.executable}",
        "import json, os, sys, time",
        f"if sys.argv[1:] == ['-version']: print({told!r}, file=sys.stderr), sys.exit()",
        f"open({str(folder / 'pid')!r}, 'w').write(str(os.getpid()))",
        f"log = open({str(folder / 'log')!r}, 'w', buffering=1)",
        body,
    ]
    program = folder / "java"
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    return str(program)


def corenlp(folder: Path) -> Path:
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (folder / name).touch()
    return folder


def test_what_would_break_the_protocol_of_meteor_never_reaches_it(tmp_path: Path) -> None:
    metric = Meteor(MeteorConfig(java=stand_in(tmp_path, ANSWERS), timeout_seconds=20))
    scores = metric.score(Captioned(CANDIDATES, REFERENCES))
    assert scores.corpus == {"METEOR": 0.5}
    assert scores.per_image == {"METEOR": {"7": 0.25, 7: 0.25}}
    sent = (tmp_path / "log").read_text().splitlines()
    assert sent == [
        "SCORE ||| a dog runs ||| two dogs | | | run <!x y> ||| a dog runs | | | fast",
        "SCORE ||| a cat ||| ",
        "EVAL ||| 2 ||| 1",
    ]
    assert metric.signature()["java"] == "11"


def test_spice_reads_and_writes_in_a_folder_of_its_own(tmp_path: Path) -> None:
    before = sorted(package_file("spice").rglob("*"))
    config = SpiceConfig(java=stand_in(tmp_path, WRITES), corenlp_folder=corenlp(tmp_path), timeout_seconds=20)
    scores = Spice(config).score(Captioned(CANDIDATES, REFERENCES))
    assert scores.per_image == {"SPICE": {"7": 0.2, 7: 0.1}}
    assert scores.corpus["SPICE"] == pytest.approx(0.15)
    folder, captions = json.loads((tmp_path / "log").read_text())
    assert not Path(folder).exists()
    assert captions[0]["test"] == "a dog runs | | | fast"
    assert captions[1] == {"image_id": 1, "test": "", "refs": ["a cat"]}
    assert sorted(package_file("spice").rglob("*")) == before


@pytest.mark.parametrize("body", ["time.sleep(60)", "print('1 2', flush=True); time.sleep(60)"])
@pytest.mark.parametrize("name", ["meteor", "spice"])
def test_a_program_that_hangs_is_stopped(tmp_path: Path, name: str, body: str) -> None:
    java, started = stand_in(tmp_path, body), time.monotonic()
    if name == "meteor":
        metric = Meteor(MeteorConfig(java=java, timeout_seconds=1))
    else:
        metric = Spice(SpiceConfig(java=java, timeout_seconds=1, corenlp_folder=corenlp(tmp_path)))
    with pytest.raises(CapfwError, match=rf"metric {name} did not finish within timeout_seconds = 1 "):
        metric.score(Captioned(CANDIDATES, REFERENCES))
    assert time.monotonic() - started < 30
    assert is_gone(tmp_path)


@pytest.mark.parametrize("name", ["meteor", "spice"])
def test_a_program_that_fails_is_quoted(tmp_path: Path, name: str) -> None:
    java = stand_in(tmp_path, "sys.stderr.write('no such heap\\n'); sys.exit(3)")
    if name == "meteor":
        metric = Meteor(MeteorConfig(java=java))
    else:
        metric = Spice(SpiceConfig(java=java, corenlp_folder=corenlp(tmp_path)))
    with pytest.raises(CapfwError, match=rf"(?s)the Java program of metric {name} failed.*no such heap"):
        metric.score(Captioned(CANDIDATES, REFERENCES))
    assert is_gone(tmp_path)


def is_gone(folder: Path) -> bool:
    try:
        os.kill(int((folder / "pid").read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_without_java_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingLibrary, match=r"(?s)needs Java 8 or newer.*no program \"java\".*cider need no Java"):
        Meteor(MeteorConfig())
    with pytest.raises(MissingLibrary, match=r"needs Java 8 to 14"):
        Spice(SpiceConfig(corenlp_folder=corenlp(tmp_path)))


@pytest.mark.parametrize(("version", "number"), [("17.0.15", "17"), ("1.7.0_80", "7")])
def test_spice_refuses_a_java_it_cannot_work_with(tmp_path: Path, version: str, number: str) -> None:
    java = stand_in(tmp_path, "", version)
    with pytest.raises(MissingLibrary, match=rf"needs Java 8 to 14, but .* is Java {number}\.") as caught:
        Spice(SpiceConfig(java=java, corenlp_folder=corenlp(tmp_path)))
    assert caught.value.option == "java"


def test_spice_names_the_download_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "stanford-corenlp-3.6.0.jar").touch()
    with pytest.raises(MissingLibrary, match=r"(?s)needs stanford-corenlp-3.6.0-models.jar in .*2015-12-09.zip") as err:
        Spice(SpiceConfig(corenlp_folder=tmp_path))
    assert err.value.option == "corenlp_folder"
