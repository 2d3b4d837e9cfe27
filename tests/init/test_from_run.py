"""`capfw init --from RUN`: a spec that fine-tunes a trained run on other photos."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from capfw import load_spec
from capfw.cli import main
from capfw.commands import questions

PARTS = {
    "encoder": {
        "name": "vit",
        "weights": "random",
        "architecture": {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2},
    },
    "mapper": {"name": "mlp", "prefix_length": 2},
    "decoder": {"name": "gpt2", "weights": "random", "num_layers": 1, "width": 16, "num_heads": 2},
}
SOURCE = {
    "capfw": 1,
    "seed": 7,  # the random encoder of another seed would not fit
    "data": {"name": "shapes", "num_train": 16, "num_val": 4, "num_test": 4, "image_size": 32},
    "features": {"num_workers": 0, "standardize": True},
    **PARTS,
    "train": {
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.01,
        "max_caption_tokens": 20,
        "tune": {"decoder": {"lr": 0.002, "only": ["model.transformer.h"]}},
    },
    "generate": {"method": "beam", "num_beams": 2, "max_tokens": 9},
    "metrics": [{"name": "cider"}],
    "run_dir": "runs/source",
}
WITH_PHOTOS = ("--images", "photos", "--captions", "captions.csv")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def init(*arguments: object) -> Result:
    return call("init", *WITH_PHOTOS, "--from", "runs/source", *arguments)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, and twenty photos with captions."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "source.json").write_text(json.dumps(SOURCE), encoding="utf-8")
    assert call("run", folder / "source.json").exit_code == 0
    (folder / "photos").mkdir()
    rows = [("file", "caption")]
    for i in range(20):
        Image.new("RGB", (24, 16), (10 * i, 90, 200)).save(folder / "photos" / f"{i}.png")
        rows += [(f"{i}.png", "a red circle"), (f"{i}.png", "a Zebra near a zebra" if i % 2 else "a blue square")]
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows(rows)
    return folder


@pytest.fixture
def home(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workshop, and the working directory."""
    shutil.copytree(workshop, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def test_the_spec_takes_the_parts_of_the_run_and_gentle_settings(home: Path) -> None:
    result = init("--output", "specs/tuned.json")

    assert result.exit_code == 0, result.stderr
    raw = json.loads((home / "specs/tuned.json").read_text())
    old = json.loads((home / "runs/source/spec.json").read_text())
    for section in ("encoder", "mapper", "decoder", "generate"):
        assert raw[section] == old[section]
    assert raw["features"] == {key: value for key, value in old["features"].items() if key != "store"}
    assert raw["train"]["from"] == "../runs/source"
    assert (raw["train"]["lr"], raw["train"]["epochs"], raw["train"]["batch_size"]) == (0.003, 10, 8)
    assert raw["train"]["tune"] == {
        "encoder": None,
        "mapper": {"lr": None, "only": None},
        "decoder": {"lr": 0.0006, "only": ["model.transformer.h"]},
    }
    assert raw["data"]["name"] == "csv"
    step = json.loads((home / "runs/source/checkpoints/best.json").read_text())["step"]
    assert f"  from     runs/source: these parts with the weights of step {step}, and how to generate" in result.stdout
    assert "  train    10 epochs, peak learning rate 0.003 (the run's: 0.01)" in result.stdout
    assert "also takes" not in result.stdout


def test_the_new_run_takes_over_every_part(home: Path) -> None:
    result = init("--set", "/train/epochs=1", "--encoder", "vit")
    assert result.exit_code == 0, result.stderr

    ran = call("run", "spec.json", "--json")

    assert ran.exit_code == 0, ran.stderr
    log = (home / "runs/spec/log.jsonl").read_text()
    assert "starting from encoder, mapper, decoder of " in log
    assert "not copied" not in log
    assert load_spec(home / "runs/spec/spec.json").generate.max_tokens == 9


def test_words_that_the_decoder_lacks_are_counted(home: Path) -> None:
    result = init("--set", '/data/shares={"val": 0.1, "test": 0.1}')

    assert result.exit_code == 0, result.stderr
    assert "does not know 2 words of the training captions" in result.stderr
    assert "zebra (" in result.stderr
    assert "near (" in result.stderr
    assert "cannot write them" in result.stderr
    counts = {name: int(result.stderr.split(f"{name} (")[1].split(")")[0]) for name in ("zebra", "near")}
    assert counts["zebra"] == 2 * counts["near"]  # each such caption has it twice, in either case


def test_no_words_are_counted_where_the_decoder_knows_all(home: Path) -> None:
    text = (home / "captions.csv").read_text().replace("a Zebra near a zebra", "a red square")
    (home / "captions.csv").write_text(text)

    result = init()

    assert (result.exit_code, "does not know" in result.stderr) == (0, False)


def test_a_run_whose_training_has_not_ended_gives_its_best_weights_with_a_note(home: Path) -> None:
    file = home / "runs/source/environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "is_trained": False}))

    result = init()

    assert result.exit_code == 0, result.stderr
    assert "Note: the training of runs/source has not ended; its best weights so far are taken." in result.stderr


def test_on_a_terminal_it_asks_for_no_part_and_prints_the_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "is_terminal", lambda: True)

    result = CliRunner().invoke(main, ["init", "--from", "runs/source"], input="photos\ncaptions.csv\n")

    assert result.exit_code == 0, result.stderr
    assert "The encoder" not in result.stderr
    command = result.stderr.splitlines()[-1].strip()
    assert command == "capfw init --images photos --captions captions.csv --from runs/source"
    first = json.loads((home / "spec.json").read_text())
    assert call(*command.split()[1:], "--output", "again.json", "--run-dir", "runs/spec").exit_code == 0
    assert json.loads((home / "again.json").read_text()) == first


def _nowhere(home: Path) -> None:
    shutil.rmtree(home / "runs/source")
    (home / "runs/source").mkdir()


def _untrained(home: Path) -> None:
    (home / "runs/source/checkpoints/best.json").unlink()


def _changed(**sections: Any) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        file = home / "runs/source/spec.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **sections}))

    return change


def _damaged(home: Path) -> None:
    (home / "runs/source/spec.json").write_text("{")


def _without_vocabulary(home: Path) -> None:
    (home / "runs/source/assets/tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_nowhere, ("runs/source: this is not a run directory", "Name the folder that `capfw run` wrote")),
        (_untrained, ("runs/source: this run is not trained yet", "capfw run runs/source/spec.json")),
        (_damaged, ("runs/source/spec.json: this file cannot be read", "Restore it")),
        (_changed(mapper=None), ("runs/source/spec.json: this spec lacks mapper", "as `capfw run` wrote it")),
        (
            _changed(encoder={"name": "eye"}),
            ('--from runs/source, /encoder/name: no encoder is called "eye"', "Registered: clip"),
        ),
        (_without_vocabulary, ("tokenizer.json cannot be read", "Restore the file")),
    ],
)
def test_a_folder_that_is_no_whole_run_is_refused(home: Path, spoil: Any, words: tuple[str, str]) -> None:
    spoil(home)

    result = init()

    assert (result.exit_code, result.stdout) == (2, "")
    for each in words:
        assert each in result.stderr
    assert not (home / "spec.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--encoder", "clip"), '--encoder: runs/source has encoder "vit", and its weights do not fit "clip".'),
        (("--decoder", "causal-lm"), "Leave --decoder out, or leave --from out."),
        (("--set", "/mapper/prefix_length=3"), "--set /mapper: this changes the mapper of runs/source"),
        (("--set", '/encoder={"name": "vit", "weights": "random"}'), "A spec without --from may have any parts."),
    ],
)
def test_other_parts_are_refused(home: Path, arguments: tuple[str, ...], words: str) -> None:
    result = init(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert not (home / "spec.json").exists()


def test_it_imports_neither_torch_nor_transformers(home: Path) -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom capfw.cli import main\n"
        f"result = CliRunner().invoke(main, ['init', *{WITH_PHOTOS!r}, '--from', 'runs/source'])\n"
        "assert result.exit_code == 0, result.output\nassert 'zebra' in result.stderr\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
