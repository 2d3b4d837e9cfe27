"""The questions of `capfw init` on a terminal: nothing that was answered is lost, and flags reach the same."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw.cli import main
from capfw.commands import questions

BAD = b"file,caption\n0.jpg,one\n1.jpg,two\nnowhere.jpg,three\n2.jpg,\n0.jpg,one\n3.jpg,four\n4.jpg,five\n"
REPORT = ["line 4: no file nowhere.jpg in", "line 5: empty caption"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(6):
        Image.new("RGB", (8, 8), (20 * i, 10, 10)).save(tmp_path / "photos" / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(questions, "is_terminal", lambda: True)
    return tmp_path


def invoke(*arguments: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, ["init", *arguments], input=answers)


def written(home: Path, name: str = "spec.json") -> Any:
    return json.loads((home / name).read_text(encoding="utf-8"))


def command_in(result: Result) -> list[str]:
    """The arguments of the command that was printed."""
    line = result.stderr.splitlines()[-1].strip()
    assert line.startswith("capfw init "), result.stderr
    return shlex.split(line)[2:]


def test_files_rows_and_parts_are_asked_for(home: Path) -> None:
    (home / "captions.csv").write_bytes(BAD)

    result = invoke(answers="nowhere\nphotso\nphotos\ncaptions.csv\ny\nvti\nvit\n\n")

    assert result.exit_code == 0, result.stderr
    assert "There is no folder nowhere in" in result.stderr
    assert "There is no folder photso in" in result.stderr
    assert 'Did you mean "photos"?' in result.stderr
    assert all(result.stderr.count(line) == 1 for line in REPORT)
    assert result.stderr.count("1 image has a caption more than once: 0.jpg.") == 1
    assert 'The encoder (clip, dinov3, timm, vit); "?" explains [clip]' in result.stderr
    assert 'No encoder is called "vti". Did you mean "vit"?' in result.stderr
    spec = written(home)
    assert spec["data"]["on_bad_row"] == "skip"
    assert spec["encoder"] == {"name": "vit", "weights": "google/vit-base-patch16-224-in21k"}
    assert spec["decoder"]["name"] == "gpt2"


def test_flags_reach_the_same_at_the_first_try(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "Bild;Beschreibung;Und noch eine\n0.jpg;one;eins\n1.jpg;two;zwei\nweg.jpg;x;y\n3.jpg;four;\n"
    (home / "meine daten.csv").write_text(table)
    asked = invoke(answers="photos\nmeine daten.csv\nBild\nBeschreibung, Und noch eine\ny\nvit\ngpt2\n")
    assert asked.exit_code == 0, asked.stderr
    assert "The same without questions:" in asked.stderr

    monkeypatch.setattr(questions, "is_terminal", lambda: False)
    again = invoke(*command_in(asked), "--output", "second.json", "--run-dir", "runs/spec")

    assert again.exit_code == 0, again.stderr
    assert written(home, "second.json") == written(home)
    assert written(home)["data"]["columns"] == {"file": "Bild", "caption": ["Beschreibung", "Und noch eine"]}


def test_a_question_mark_explains(home: Path) -> None:
    (home / "captions.csv").write_text("Bild,Beschreibung\n0.jpg,a red house\n1.jpg,two\n2.jpg,three\n3.jpg,four\n")

    result = invoke(answers="?\nphotos\n?\ncaptions.csv\n?\nBild\n?\nBeschreibung\n?\n\n?\n\n")

    assert result.exit_code == 0, result.stderr
    for line in (
        "  The folder that holds your image files",
        "  One file: a table (CSV or TSV, as spreadsheets export it)",
        "  Bild: 0.jpg",
        "  Beschreibung: a red house",
        "  clip: CLIP vision towers of open_clip; projected embedding or patch tokens. Its usual weights: a download of",
        "  dinov3: DINOv3 with the dino.txt head; image embedding, [CLS] or patch tokens. Its usual weights: Meta's files,",
        "  gpt2: GPT-2: published, local or from scratch",
    ):
        assert line in result.stderr


def test_a_wrong_column_is_asked_again(home: Path) -> None:
    (home / "captions.csv").write_text("file,Beschreibung,Titel\n0.jpg,x,y\n1.jpg,x,y\n2.jpg,x,y\n")
    arguments = ("--images", "photos", "--captions", "captions.csv")

    result = invoke(*arguments, answers="Beschreibun\nTitel,Beschreibung\n")

    assert result.exit_code == 0, result.stderr
    assert "captions.csv: no column is called as captions usually are." in result.stderr
    assert 'No column is called "Beschreibun". Did you mean "Beschreibung"?' in result.stderr
    assert "The encoder (" not in result.stderr  # files were given by flags, so parts are not asked for
    assert written(home)["data"]["columns"] == {"caption": ["Titel", "Beschreibung"]}


def test_captions_that_cannot_be_read_are_asked_for_again(home: Path) -> None:
    (home / "captions.xlsx").write_bytes(b"PK\x03\x04")
    (home / "notes.txt").write_text("no table at all\n")
    (home / "captions.csv").write_text("file,caption\n0.jpg,x\n1.jpg,x\n2.jpg,x\n")

    result = invoke(answers="photos\ncaptions.xlsx\nnotes.txt\ncaptions.csv\n\n\n")

    assert result.exit_code == 0, result.stderr
    assert "captions.xlsx: this is a workbook" in result.stderr
    assert "notes.txt: no data set recognizes the format of this file" in result.stderr


def test_captions_inside_the_folder_need_no_question(home: Path) -> None:
    (home / "photos" / "metadata.csv").write_text("file_name,text\n0.jpg,x\n1.jpg,x\n2.jpg,x\n")

    result = invoke(answers="photos\n\n\n")

    assert result.exit_code == 0, result.stderr
    assert "File of their captions" not in result.stderr
    assert written(home)["data"]["captions"] == "photos/metadata.csv"


@pytest.mark.parametrize(
    ("arguments", "prepare", "said"),
    [
        ((), lambda home: (home / "spec.json").touch(), "spec.json: this file exists already."),
        ((), lambda home: (home / "capfw.schema.json").write_text("{}"), "this file is not a schema of capfw."),
        (("--output", "notes/spec.json"), lambda home: (home / "notes").touch(), "notes: it is not a folder."),
        (("--encoder", "clipp"), lambda home: None, 'no encoder is called "clipp"'),
        (("--set", "epochs"), lambda home: None, '"epochs" is not an override'),
        (("--column", "Bild"), lambda home: None, '"Bild" is not ROLE=NAME, as in caption=Description.'),
    ],
)
def test_what_cannot_end_well_asks_nothing(home: Path, arguments: tuple[str, ...], prepare: Any, said: str) -> None:
    prepare(home)
    result = invoke(*arguments, answers="")
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert "Folder of your images" not in result.stderr


@pytest.mark.parametrize(
    ("answers", "arguments"),
    [
        ("photos\ncaptions.csv\nn\n", ["--images", "photos", "--captions", "captions.csv"]),
        (
            "photos\ncaptions.csv\n",
            ["--images", "photos", "--captions", "captions.csv"],
        ),  # the end of the input: Ctrl-D
        (
            "photos\ncaptions.csv\ny\nvit\n",
            ["--images", "photos", "--captions", "captions.csv", "--encoder", "vit", "--set", "/data/on_bad_row=skip"],
        ),
    ],
)
def test_answers_are_kept_as_a_command(home: Path, answers: str, arguments: list[str]) -> None:
    (home / "captions.csv").write_bytes(BAD)

    result = invoke(answers=answers)

    assert result.exit_code != 0
    assert "Your answers so far, as a command:" in result.stderr
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip().startswith("capfw init")]
    assert [shlex.split(line)[2:] for line in lines] == [arguments]
    assert not (home / "spec.json").exists()


def test_a_wrong_option_at_the_end_keeps_the_answers(home: Path) -> None:
    (home / "captions.csv").write_text("file,caption\n0.jpg,x\n1.jpg,x\n2.jpg,x\n")

    result = invoke("--set", '/train/epochs="3"', answers="photos\ncaptions.csv\nvit\ngpt2\n")

    assert result.exit_code == 2
    assert "spec.json was not written: 1 problem\n\n/train/epochs: must be a whole number" in result.stderr
    assert "--encoder vit --decoder gpt2 --set '/train/epochs=\"3\"'" in result.stderr


def test_skip_by_flag_says_once_what_later_runs_do_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "is_terminal", lambda: False)
    (home / "captions.csv").write_bytes(BAD.replace(b"4.jpg", b"4"))
    arguments = ("--images", "photos", "--captions", "captions.csv", "--set", "/data/on_bad_row=skip")

    result = invoke(*arguments)

    assert result.exit_code == 0, result.stderr
    for words in (
        *REPORT,
        "1 image has a caption more than once: 0.jpg.",
        "1 file name is not spelled as in",
        "left out",
    ):
        assert result.stderr.count(words) == 1
