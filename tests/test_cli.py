"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from capfw.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"


def capfw(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["plugins"], ["schema"], ["validate", str(EXAMPLES / "quickstart.json")]],
    ids=lambda a: a[0],
)
def test_light_commands_do_not_load_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from capfw.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'timm', 'open_clip'} & sys.modules.keys()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ}, check=False
    )
    assert result.returncode == 0, result.stderr


def test_help_lists_every_command_whole_and_begins_with_the_first_ones() -> None:
    for group in ([], ["plugins"], ["import"], ["new"], ["spec"]):
        listed = capfw(*group, "--help").stdout.partition("Commands:\n")[2].splitlines()
        assert listed
        assert not [line for line in listed if line.endswith("...")]
        if not group:
            assert [line.split()[0] for line in listed][:3] == ["init", "validate", "run"]


def test_five_mistakes_are_reported_at_once_each_with_its_place_and_a_remedy(tmp_path: Path) -> None:
    spec = json.loads((EXAMPLES / "quickstart.json").read_text())
    spec["trian"] = {}
    spec["encoder"] = {"name": "clipp"}
    spec["seed"] = "many"
    spec["data"] = {"name": "coco", "train": {"images": ".", "captions": "nowhere.json"}}
    spec["train"]["lr"] = -1
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    result = capfw("validate", file, "--json")
    assert result.exit_code == 2
    problems = {problem["pointer"]: problem for problem in json.loads(result.stdout)["problems"]}
    assert set(problems) == {"/trian", "/encoder/name", "/seed", "/data/train/captions", "/train/lr"}
    assert 'Did you mean "train"' in problems["/trian"]["fix"]
    assert 'Did you mean "clip"' in problems["/encoder/name"]["fix"]
    assert str(tmp_path / "nowhere.json") in problems["/data/train/captions"]["message"]
    assert all(problem["fix"] for problem in problems.values())
    plain = capfw("validate", file)
    assert plain.exit_code == 2
    assert "Traceback" not in plain.output
    assert all(pointer in plain.stderr for pointer in problems)


def test_a_pooled_mapper_on_patch_tokens_is_refused_by_validate() -> None:
    mapper = '{"name": "mlp"}'
    result = capfw("validate", EXAMPLES / "quickstart.json", "--set", f"/mapper={mapper}")
    assert result.exit_code == 2
    assert '/mapper: "mlp" needs one pooled embedding per image' in result.stderr
    assert 'Set /encoder/features to "pooled"' in result.stderr


@pytest.mark.parametrize("name", ["clip-mlp-gpt2", "clip-transformer-gpt2", "vit-transformer-gpt2", "flickr8k"])
def test_the_recipes_lack_nothing_but_their_files(name: str) -> None:
    result = capfw("validate", EXAMPLES / f"{name}.json", "--json")
    assert result.exit_code == 2
    problems = json.loads(result.stdout)["problems"]
    assert all("there is no f" in problem["message"] for problem in problems), problems


@pytest.mark.parametrize("name", ["mapper/mlp", "encoder/vit", "decoder/gpt2", "metric/cider"])
def test_plugins_show_prints_options_and_a_spec_fragment(name: str) -> None:
    shown = json.loads(capfw("plugins", "show", name, "--json").stdout)[0]
    section, fragment = next(iter(json.loads("{" + shown["fragment"] + "}").items()))
    part = fragment[0] if section == "metrics" else fragment
    assert part["name"] == name.split("/")[1]
    assert all(option["description"] for option in shown["options"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip-mlp-gpt2", "clip-transformer-gpt2", "vit-transformer-gpt2"])
def test_the_recipes_build_and_take_a_step_at_full_size(name: str, shared_data: Path, tmp_path: Path) -> None:
    """With random weights, two photos and one training step; the published weights cannot be had here."""
    coco = shared_data / "coco_mini"
    splits = {
        split: {
            "images": str(coco / f"{split}2017"),
            "captions": str(coco / f"annotations/captions_{split}2017.json"),
            "limit": 2,
        }
        for split in ("train", "val")
    }
    changes: dict[str, object] = {"/data": json.dumps({"name": "coco", **splits})}
    changes |= {"/encoder/weights": "random", "/decoder/weights": "random", "/run_dir": tmp_path / "run"}
    changes |= {"/train/max_steps": 1, "/train/batch_size": 2, "/generate/max_tokens": 2, "/features/num_workers": 0}
    sets = [part for pointer, value in changes.items() for part in ("--set", f"{pointer}={value}")]
    result = capfw("--debug", "train", EXAMPLES / f"{name}.json", *sets)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run/checkpoints/best.json").is_file()
