"""The commands that must stay light: what they print, their exit codes, and what they do not import."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, Field

from capfw.cli import main
from capfw.core.protocols import KINDS
from capfw.core.registry import Registry
from capfw.core.spec import load_spec
from capfw.core.spec.describe import describe, options_of

TOYS = {"eye", "pooled-map", "any-map", "voice", "length", "table"}
QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart.json"
GOOD = "\n@hookimpl\ndef register_encoders():\n    return [made()]\n"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def use_toys(monkeypatch: pytest.MonkeyPatch, toys: ModuleType) -> ModuleType:
    """The commands find only the toys."""
    monkeypatch.setattr(Registry, "discover", lambda **_: Registry([toys.Toys()]))
    return toys


def write(folder: Path, spec: dict[str, object]) -> Path:
    file = folder / "spec.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    return file


def test_validate_says_what_it_checked_and_what_not(use_toys: ModuleType, tmp_path: Path) -> None:
    result = invoke("validate", write(tmp_path, use_toys.spec()))

    assert (result.exit_code, result.stderr) == (0, "")
    assert "encoder eye" in result.stdout
    assert "Not checked: weights" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_validate_reports_all_problems_and_exits_2(use_toys: ModuleType, tmp_path: Path) -> None:
    wrong = use_toys.spec(
        enconder={},
        data={"name": "folder", "captions": "no.json"},
        mapper={"name": "nap"},
        train={"best_by": "length", "epochs": "x", "lr": 0},
    )
    places = {"/enconder", "/data/captions", "/mapper/name", "/train/epochs", "/train/lr"}
    file = write(tmp_path, wrong)

    plain, as_json = invoke("validate", file), invoke("validate", file, "--json")

    assert (plain.exit_code, plain.stdout) == (2, "")
    assert "5 problems" in plain.stderr
    assert {
        line.split(":")[0] for line in plain.stderr.splitlines() if line.startswith("/") and "/spec.json" not in line
    } == places
    assert "Traceback" not in plain.stderr
    answer = json.loads(as_json.stdout)
    assert (as_json.exit_code, answer["valid"]) == (2, False)
    assert {problem["pointer"] for problem in answer["problems"]} == places
    assert all(problem["message"] and problem["fix"] for problem in answer["problems"])


def test_set_overrides_and_resolve_prints_what_runs_again(use_toys: ModuleType, tmp_path: Path) -> None:
    result = invoke("spec", "resolve", write(tmp_path, use_toys.spec()), "--set", "/train/epochs=9", "--set", "/seed=1")
    resolved = json.loads(result.stdout)

    assert (result.exit_code, resolved["train"]["epochs"], resolved["seed"]) == (0, 9, 1)
    assert load_spec(resolved, registry=Registry([use_toys.Toys()])).to_json() == resolved
    refused = invoke("validate", write(tmp_path, use_toys.spec()), "--set", "epochs=9")
    assert (refused.exit_code, "is not an override" in refused.stderr) == (2, True)


def test_set_with_a_space_before_its_value_is_answered_with_the_right_form(
    use_toys: ModuleType, tmp_path: Path
) -> None:
    refused = invoke("validate", write(tmp_path, use_toys.spec()), "--set", "/train/epochs", "3")
    assert refused.exit_code == 2
    assert refused.stderr == (
        '--set: 1 problem\n\n/: "/train/epochs" is not an override.\n'
        "  Write --set /train/epochs=VALUE: an equals sign, and no space beside it.\n"
    )


def test_set_appends_to_a_list_as_often_as_it_is_given(use_toys: ModuleType, tmp_path: Path) -> None:
    spec = use_toys.spec(metrics=[{"name": "length", "unit": "words"}])
    more = [part for most in (5, 6) for part in ("--set", f'/metrics/-={{"name": "length", "most": {most}}}')]
    result = invoke("spec", "resolve", write(tmp_path, spec), *more)
    assert result.exit_code == 0
    assert [metric["most"] for metric in json.loads(result.stdout)["metrics"]] == [100, 5, 6]


def test_plugins_lists_sound_broken_and_left_out(install: Callable[..., Path]) -> None:
    install("capfw-good", GOOD, name="good")
    install("capfw-bad", "raise RuntimeError('no luck')")
    install("capfw-unwanted", GOOD, name="unwanted")

    plain = invoke("--no-plugin", "capfw-unwanted", "plugins")
    listed = json.loads(invoke("--no-plugin", "capfw-unwanted", "plugins", "--json").stdout)

    found = {plugin["distribution"]: plugin for plugin in listed}
    assert found["capfw-good"]["components"] == ["encoder good"]
    assert (found["capfw-bad"]["state"], found["capfw-unwanted"]["state"]) == ("broken", "skipped")
    assert (plain.exit_code, found["capfw-bad"]["version"]) == (0, "1.2")
    for plugin in listed:
        assert plugin["name"] in plain.stdout
        assert plugin["cause"] in plain.stdout


def test_unknown_plugin_to_leave_out_is_refused() -> None:
    result = invoke("--no-plugin", "encoder-clipp", "plugins")

    assert (result.exit_code, result.stdout) == (2, "")
    assert 'Did you mean "encoder-clip"?' in result.stderr


def test_show_prints_options_with_types_ranges_and_defaults(use_toys: ModuleType) -> None:
    result = invoke("plugins", "show", "mapper/pooled-map")
    [about] = json.loads(invoke("plugins", "show", "pooled-map", "--json").stdout)

    assert result.exit_code == 0
    assert "prefix_length: a whole number, at least 1, at most 100; default 10" in result.stdout
    assert "Prefix vectors per image (P)." in result.stdout
    assert about["options"][0]["name"] == "prefix_length"
    assert '"mapper": {"name": "pooled-map"}' in result.stdout


def test_show_prints_the_scores_of_a_metric_and_their_direction(install: Callable[..., Path]) -> None:
    source = """\
        from capfw.core.protocols import Component, MetricConfig, hookimpl

        class Config(MetricConfig):
            def score_names(self):
                return ("TER", "TER-hits")

            def lower_is_better(self):
                return ("TER",)

        @hookimpl
        def register_metrics():
            return [Component("ter", Config, "nowhere:Ter", "Edits.", example=Config())]
    """
    install("capfw-ter", textwrap.dedent(source))

    [about] = json.loads(invoke("plugins", "show", "ter", "--json").stdout)

    assert "Scores: TER (less is better), TER-hits" in invoke("plugins", "show", "ter").stdout
    assert (about["scores"], about["lower_is_better"]) == (["TER", "TER-hits"], ["TER"])


def test_options_inside_objects_are_named_by_their_path() -> None:
    class Leaf(BaseModel):
        size: int = Field(ge=1, description="A size.")
        more: Leaf | None = Field(None, description="Another one.")

    class Tree(BaseModel):
        leaf: Leaf | None = Field(None, description="A leaf.")
        seed: int = Field(0, description="A seed.")

    Leaf.model_rebuild(_types_namespace={"Leaf": Leaf})
    options = {option.name: option for option in options_of(Tree)}
    assert list(options) == ["leaf", "leaf/size", "leaf/more", "seed"]  # what contains itself is listed once
    assert options["leaf/size"].is_required
    assert options["leaf/size"].type == "a whole number, at least 1"


def test_show_of_an_unknown_name_suggests_one(use_toys: ModuleType) -> None:
    for name in ("poold-map", "mapper/poold-map", "maper/pooled-map"):
        result = invoke("plugins", "show", name)
        assert result.exit_code == 2
        assert "pooled-map" in result.stderr


def test_schema_prints_json(use_toys: ModuleType) -> None:
    assert "encoder-eye" in json.loads(invoke("schema").stdout)["$defs"]


def test_debug_shows_the_traceback_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> Registry:
        raise ZeroDivisionError("of our own making")

    monkeypatch.setattr(Registry, "discover", broken)

    result = invoke("plugins")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "unexpected ZeroDivisionError: of our own making" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    assert isinstance(invoke("--debug", "plugins").exception, ZeroDivisionError)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


HEAVY = ("torch", "torchvision", "transformers", "timm", "open_clip", "accelerate", "pycocoevalcap")


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], (*HEAVY, "pydantic", "pluggy", "rich", "numpy", "PIL")),
        (["--version"], (*HEAVY, "pydantic", "pluggy", "rich", "numpy", "PIL")),
        (["plugins"], HEAVY),
        (["plugins", "show", "clip"], HEAVY),
        (["validate", str(QUICKSTART)], HEAVY),
        (["spec", "resolve", str(QUICKSTART)], HEAVY),
        (["schema"], HEAVY),
        (["schema", "--sweep"], HEAVY),
        (["sweep", str(QUICKSTART.parent / "sweeps" / "quickstart.json"), "--dry-run"], HEAVY),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_light_commands_import_nothing_heavy(arguments: list[str], unwanted: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom capfw.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as err:\n    assert not err.code, err.code\n"
        f"print(sorted(set({unwanted!r}) & set(sys.modules)))"
    )
    assert run_python(code) == "[]"


def test_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "capfw", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "validate" in done.stdout


def test_fragment_of_every_component_of_capfw_validates(use_toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    registry = Registry.discover(only=["capfw"]).with_plugins(use_toys.Parts())
    about = [
        each for kind in KINDS for c in registry.components(kind) for each in describe(registry, f"{kind}/{c.name}")
    ]

    for each in about:
        assert all(option.description for option in each.options), f"{each.kind} {each.name}"
        assert each.summary
        assert each.source or each.kind == "dataset" or each.name in TOYS, f"{each.kind} {each.name}"
        if KINDS[each.kind].section is None:
            commands = {"importer": "import checkpoint FILE RUN_DIR --format", "exporter": "export RUN_DIR --to"}
            assert each.fragment == f"capfw {commands[each.kind]} {each.name}"
            continue
        fragment = json.loads("{" + each.fragment + "}")
        encoder = {"name": "eye", "features": "tokens" if each.name == "perceiver" else "pooled"}
        plain = use_toys.spec(encoder=encoder, mapper={"name": "any-map"}, train={"best_by": "loss"})
        source = (
            plain | fragment if each.kind != "objective" else plain | {"train": {**plain["train"], **fragment["train"]}}
        )
        spec = load_spec(
            source, registry=registry, check_files=each.kind == "logger"
        )  # a run that is used has no logger
        parts = (spec.data, spec.encoder, spec.mapper, spec.decoder, *spec.metrics, spec.train.objective, spec.context)
        parts += spec.loggers
        assert each.name in {part.name for part in parts if part is not None}
    assert {"clip", "clipcap", "gpt2", "mlp"} <= {each.name for each in about}
