"""`capfw init`: from somebody's images and captions to a spec that runs, without an editor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from capfw.cli import main
from capfw.core.authoring.first_spec import Wishes, draft
from capfw.core.errors import DataError, PluginError
from capfw.core.protocols import Component, DatasetConfig, hookimpl
from capfw.core.registry import Registry
from capfw.core.spec import load_spec
from capfw.core.spec.schema import json_schema

from .photos import TINY, are_divided, invoke, split_sizes, write_csv, written
from .test_forms import as_coco


def test_jpegs_and_a_csv_become_a_spec_that_runs(home: Path) -> None:
    write_csv(home / "captions.csv")

    made = invoke("--images", "photos", "--captions", "captions.csv", "--encoder", "vit", *TINY)

    assert are_divided(split_sizes(made))
    assert made.stdout.splitlines()[-2:] == ["  capfw validate spec.json", "  capfw run spec.json"]
    ran = CliRunner().invoke(main, ["run", "spec.json", "--json"])
    assert ran.exit_code == 0, ran.stderr
    scores = json.loads(ran.stdout)
    assert scores["split"] == "test"
    assert {"BLEU-4", "ROUGE-L", "CIDEr"} <= scores["scores"].keys()
    assert "$schema" not in json.loads((home / "runs" / "spec" / "spec.json").read_text())


def test_proposal_is_small_and_of_published_weights(home: Path) -> None:
    write_csv(home / "captions.csv")

    result = invoke("--images", "photos", "--captions", "captions.csv")

    assert result.exit_code == 0, result.stderr
    assert written(home) == {
        "$schema": "./capfw.schema.json",
        "capfw": 1,
        "data": {
            "name": "csv",
            "images": "photos",
            "captions": "captions.csv",
            "shares": {"val": 0.1, "test": 0.1},
        },
        "encoder": {"name": "clip", "model": "ViT-B-32", "weights": "openai"},
        "mapper": {"name": "mlp", "prefix_length": 10},
        "decoder": {"name": "gpt2", "weights": "gpt2"},
        "metrics": [{"name": "bleu"}, {"name": "cider"}, {"name": "rouge-l"}],
        "run_dir": "runs/spec",
    }
    assert written(home, "capfw.schema.json") == json_schema(Registry.discover())
    assert "--encoder also takes dinov3, timm, vit" in result.stdout


def test_paths_are_relative_to_the_spec(home: Path) -> None:
    write_csv(home / "captions.csv")

    options = ("--output", "specs/mine.json", "--run-dir", "../runs/mine")
    result = invoke("--images", "photos", "--captions", "captions.csv", *options)

    assert result.exit_code == 0, result.stderr
    spec = written(home, "specs/mine.json")
    assert (spec["data"]["images"], spec["data"]["captions"]) == ("../photos", "../captions.csv")
    assert load_spec(home / "specs" / "mine.json").run_dir == home.resolve() / "runs" / "mine"
    assert (home / "specs" / "capfw.schema.json").is_file()


def test_without_a_terminal_what_is_missing_is_named(home: Path) -> None:
    result = invoke("--images", "photos")

    assert result.exit_code == 2
    assert "photos: no data set finds captions inside this folder" in result.stderr
    assert "Name their file with --captions FILE." in result.stderr
    nothing = invoke()
    assert (nothing.exit_code, "--images must be given" in nothing.stderr) == (2, True)


def test_nothing_is_overwritten_without_force(home: Path) -> None:
    write_csv(home / "captions.csv")
    arguments = ("--images", "photos", "--captions", "captions.csv")
    (home / "spec.json").write_text("mine")

    refused = invoke(*arguments)
    assert (refused.exit_code, (home / "spec.json").read_text()) == (2, "mine")
    assert "this file exists already" in refused.stderr
    assert "--force" in refused.stderr

    assert invoke(*arguments, "--force").exit_code == 0
    assert invoke(*arguments, "--output", "second.json").exit_code == 0  # the schema there is capfw's own
    (home / "capfw.schema.json").write_text("{}")
    refused = invoke(*arguments, "--output", "third.json")
    assert (refused.exit_code, "is not a schema of capfw" in refused.stderr) == (2, True)
    assert not (home / "third.json").exists()


def test_output_that_cannot_be_written_is_named(home: Path) -> None:
    write_csv(home / "captions.csv")
    (home / "file").touch()

    result = invoke("--images", "photos", "--captions", "captions.csv", "--output", "file/specs/spec.json")

    assert result.exit_code == 2
    assert "file: it is not a folder." in result.stderr
    assert "--output" in result.stderr


def test_mapper_fits_the_features_of_the_encoder(home: Path) -> None:
    write_csv(home / "captions.csv")
    arguments = ("--images", "photos", "--captions", "captions.csv")

    assert invoke(*arguments, "--set", "/encoder/features=tokens").exit_code == 0
    assert written(home)["mapper"]["name"] == "transformer"
    refused = invoke(*arguments, "--output", "b.json", "--set", "/encoder/features=tokens", "--mapper", "mlp")
    assert refused.exit_code == 2
    assert '/mapper: "mlp" needs one pooled embedding' in refused.stderr
    assert "b.json was not written" in refused.stderr


def test_unknown_names_and_forms_are_refused(home: Path) -> None:
    write_csv(home / "captions.csv")
    (home / "notes.txt").write_text("no table at all\n")

    wrong = invoke("--images", "photos", "--captions", "captions.csv", "--encoder", "clipp")
    assert (wrong.exit_code, 'Did you mean "clip"?' in wrong.stderr) == (2, True)
    unknown = invoke("--images", "photos", "--captions", "notes.txt")
    assert (unknown.exit_code, "no data set recognizes the format of this file" in unknown.stderr) == (2, True)
    not_coco = invoke("--images", "photos", "--captions", "captions.csv", "--data", "coco")
    assert (not_coco.exit_code, "tried: coco." in not_coco.stderr) == (2, True)
    lines = invoke("--images", "photos", "--captions", as_coco(home), "--data", "csv")
    assert lines.exit_code == 2


def test_columns_of_other_names_can_be_set(home: Path) -> None:
    write_csv(home / "captions.csv", ("bild", "satz"))
    arguments = ("--images", "photos", "--captions", "captions.csv")

    refused = invoke(*arguments)
    assert (refused.exit_code, "Name yours: --column file=NAME --column caption=NAME" in refused.stderr) == (2, True)
    named = invoke(*arguments, "--set", "/data/columns/file=bild", "--set", "/data/columns/caption=satz")
    assert are_divided(split_sizes(named))
    flags = ("--column", "file=bild", "--column", "caption=satz", "--output", "second.json")
    assert are_divided(split_sizes(invoke(*arguments, *flags)))
    assert written(home, "second.json")["data"] == written(home)["data"]


class AudioConfig(DatasetConfig):
    @classmethod
    def for_files(cls, *, images: Path, captions: Path | None, columns: Mapping[str, Sequence[str]]) -> None:
        raise KeyError("odd")


class Strangers:
    @hookimpl
    def register_datasets(self) -> list[Component]:
        return [Component("odd", AudioConfig, "x.model:X", "A data set.", AudioConfig())]


def test_data_set_that_fails_to_look_stops_only_what_no_other_knows(home: Path) -> None:
    registry = Registry.discover().with_plugins(Strangers())
    write_csv(home / "captions.csv")
    (home / "notes.txt").write_text("no table at all\n")

    assert draft(Wishes(home / "photos", home / "captions.csv", "run"), registry, home)["data"]["name"] == "csv"
    with pytest.raises(DataError, match="Data set \"odd\" failed to inspect it: KeyError: 'odd'"):
        draft(Wishes(home / "photos", home / "notes.txt", "run"), registry, home)


def test_where_nothing_is_recommended_a_name_is_asked_for(home: Path) -> None:
    write_csv(home / "captions.csv")
    registry = Registry.discover(skip=["encoder-clip"])

    with pytest.raises(PluginError, match="no encoder is recommended") as caught:
        draft(Wishes(home / "photos", home / "captions.csv", "run"), registry, home)
    assert "Name one with --encoder: dinov3, timm, vit." in str(caught.value)


def test_init_imports_nothing_heavy(home: Path) -> None:
    write_csv(home / "captions.csv")
    code = (
        "import sys\nfrom capfw.cli import main\n"
        "try:\n    main(['init', '--images', 'photos', '--captions', 'captions.csv'])\n"
        "except SystemExit as err:\n    assert not err.code, err.code\n"
        "print(sorted({'torch', 'transformers', 'timm', 'open_clip', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
