"""`capfw new plugin`: what it writes passes its own tests and runs, and what it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from capfw.cli import main
from capfw.core.authoring.scaffold import PLUGIN_KINDS, PluginNames, new_plugin
from capfw.core.errors import PluginError
from capfw.core.protocols import KINDS
from capfw.core.registry import Registry

DISTRIBUTIONS = {
    "encoder": "capfw-tiny-eye",
    "mapper": "capfw-bridge",
    "decoder": "capfw-parrot",
    "metric": "length-ratio",  # a name need not begin with capfw-
    "dataset": "capfw-photo-folder",
    "objective": "capfw-short-and-long",
    "context": "capfw-neighbours",
    "importer": "capfw-old-project",
    "logger": "capfw-plain-log",
    "exporter": "capfw-plain-list",
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def generated(
    install: Callable[..., None], run_in_environment: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A new plugin of each kind, installed: folders by kind."""
    output = tmp_path_factory.mktemp("generated")
    for kind, name in DISTRIBUTIONS.items():
        run_in_environment("capfw", "new", "plugin", name, "--kind", kind, "--output", output)
    folders = {kind: output / name for kind, name in DISTRIBUTIONS.items()}
    install(*folders.values())
    return folders


def new(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["new", "plugin", *map(str, arguments)])


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_what_was_generated_passes_its_own_tests(
    kind: str, generated: dict[str, Path], run_in_environment: Run
) -> None:
    folder = generated[kind]
    done = run_in_environment("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)

    assert " passed" in done.stdout
    component = PluginNames.of(DISTRIBUTIONS[kind]).component
    assert f"{kind} {component}: " in run_in_environment("capfw", "plugins", "show", f"{kind}/{component}").stdout


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_what_was_generated_is_formatted(kind: str, tmp_path: Path) -> None:
    folder = new_plugin(DISTRIBUTIONS[kind], kind, registry=Registry(), output=tmp_path).folder
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_spec_that_was_generated_runs(kind: str, generated: dict[str, Path], run_in_environment: Run) -> None:
    done = run_in_environment("capfw", "run", "spec.json", "--json", cwd=generated[kind])

    result = json.loads(done.stdout)
    assert result["split"] == "test"
    assert set(result["scores"]) >= {"BLEU-4", *(["LengthRatio"] if kind == "metric" else [])}
    assert Path(result["run_dir"]).parent == generated[kind] / "runs"
    if kind == "logger":
        with (Path(result["run_dir"]) / "loggers/plain-log/values.csv").open(newline="", encoding="utf-8") as table:
            logged = {name: float(value) for _, name, value in csv.reader(table)}
        assert logged["test/BLEU-4"] == result["scores"]["BLEU-4"]
        assert {"train/loss", "train/lr", "train/epoch_loss", "val/loss", "test/num_images"} <= logged.keys()


def test_all_run_together(generated: dict[str, Path], run_in_environment: Run) -> None:
    spec = json.loads((generated["dataset"] / "spec.json").read_text(encoding="utf-8"))
    for kind in ("encoder", "mapper", "decoder"):
        spec[kind] = json.loads((generated[kind] / "spec.json").read_text(encoding="utf-8"))[kind]
    spec |= {
        "run_dir": "runs/together",
        "metrics": [{"name": "length-ratio"}],
        "generate": {"method": "nucleus", "num_captions": 2, "max_tokens": 8},
    }
    file = generated["dataset"] / "together.json"
    file.write_text(json.dumps(spec), encoding="utf-8")

    result = json.loads(run_in_environment("capfw", "run", file, "--json").stdout)

    [caption] = json.loads((Path(result["run_dir"]) / "candidates" / "test.json").read_text(encoding="utf-8"))
    words = len(caption["caption"].split())
    assert result["scores"] == {"LengthRatio": pytest.approx(words / 5)}  # references of 3 and of 7 words
    assert caption["image_id"] == "test/yellow-over-blue.ppm"
    assert caption["log_prob"] >= caption["others"][0]["log_prob"]


def test_it_tells_what_to_run_next_and_fills_every_place(tmp_path: Path) -> None:
    result = new("capfw-tiny-eye", "--kind", "encoder", "--output", tmp_path / "made" / "here")

    folder = tmp_path / "made" / "here" / "capfw-tiny-eye"
    assert (result.exit_code, result.stderr) == (0, "")
    for line in (f"cd {folder}", 'pip install -e ".[test]"', "pytest", "capfw plugins show encoder/tiny-eye"):
        assert f"  {line}\n" in result.stdout
    files = {
        file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in folder.rglob("*") if file.is_file()
    }
    assert set(files) == {
        "README.md",
        "pyproject.toml",
        "spec.json",
        "src/capfw_tiny_eye/__init__.py",
        "src/capfw_tiny_eye/model.py",
        "tests/test_conformance.py",
        "tests/test_tiny_eye.py",
    }
    assert not [name for name, text in files.items() if "$" in text]


def test_every_kind_has_a_template() -> None:
    assert set(PLUGIN_KINDS) == set(KINDS) == set(DISTRIBUTIONS)


@pytest.mark.parametrize(
    ("distribution", "package", "component", "class_name"),
    [
        ("capfw-dinosaur", "capfw_dinosaur", "dinosaur", "Dinosaur"),
        ("capfw-tiny-eye2", "capfw_tiny_eye2", "tiny-eye2", "TinyEye2"),
        ("my-capfw-metric", "my_capfw_metric", "my-capfw-metric", "MyCapfwMetric"),
        ("capfw-class", "capfw_class", "class", "Class"),
    ],
)
def test_names_follow_from_the_distribution(distribution: str, package: str, component: str, class_name: str) -> None:
    assert PluginNames.of(distribution) == PluginNames(distribution, package, component, class_name)


@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("Capfw_TinyEye", "is not a valid package name", "Write capfw-tiny-eye."),
        ("capfw tiny  eye", "single hyphens", "Write capfw-tiny-eye."),
        ("capfw-", "also behind capfw-", "Write something like"),
        ("capfw-3d", "also behind capfw-", "Write something like"),
        ("../up", "is not a valid package name", "Write up."),
        ("capfw", "taken by this framework", "Write capfw-NAME."),
        ("json", "taken by Python itself", "Write capfw-json."),
        ("class", "taken by Python itself", "Write capfw-class."),
        ("capfw-none", "gives the class name None, a keyword of Python", "Choose another name."),
    ],
)
def test_bad_names_are_refused_with_a_good_one(name: str, what: str, fix: str, tmp_path: Path) -> None:
    result = new(name, "--kind", "metric", "--output", tmp_path)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("NAME: ")
    assert what in result.stderr
    assert fix in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("capfw-scores", "metric", "a class Scores, which it also imports from capfw.core.protocols"),
        ("capfw-component", "metric", "a class Component"),
        ("capfw-image", "encoder", "a class Image, which it also imports from PIL"),
        ("capfw-path", "dataset", "a class Path, which it also imports from pathlib"),
        ("capfw-vocabulary", "decoder", "a class Vocabulary, which it also imports from words"),
        ("capfw-conformance", "mapper", "the file tests/test_conformance.py, which every plugin has"),
    ],
)
def test_name_that_would_hide_what_the_package_uses_is_refused(name: str, kind: str, what: str, tmp_path: Path) -> None:
    result = new(name, "--kind", kind, "--output", tmp_path)

    assert result.exit_code == 2
    assert what in result.stderr
    assert f"Write {name}-NAME" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "capfw-tiny-eye"
    taken.mkdir()

    result = new("capfw-tiny-eye", "--kind", "encoder", "--output", tmp_path)

    assert result.exit_code == 2
    assert f"{taken}: this folder exists already" in result.stderr
    assert list(taken.iterdir()) == []


def test_output_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = new("capfw-tiny-eye", "--kind", "encoder", "--output", tmp_path / "file")

    assert result.exit_code == 2
    assert "cannot be created: Not a directory" in result.stderr


def test_a_name_that_is_taken_is_refused_and_of_another_kind_is_not(tmp_path: Path) -> None:
    taken = new("capfw-clip", "--kind", "encoder", "--output", tmp_path)
    installed = new("torch", "--kind", "metric", "--output", tmp_path)
    free = new("capfw-clip", "--kind", "mapper", "--output", tmp_path / "other")

    assert (taken.exit_code, installed.exit_code, free.exit_code, free.stderr) == (2, 2, 0, "")
    mapper = new("capfw-mlp", "--kind", "importer", "--output", tmp_path)  # its package has a mapper as well
    assert 'the mapper name "mlp" is taken by plugin "mapper-mlp" of capfw' in mapper.stderr
    assert 'the encoder name "clip" is taken by plugin "encoder-clip" of capfw' in taken.stderr
    assert "a package called torch is installed" in installed.stderr
    assert [folder.name for folder in tmp_path.iterdir()] == ["other"]


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no template") as caught:
        new_plugin("capfw-tiny-eye", "encodr", registry=Registry(), output=tmp_path)

    assert 'Did you mean "encoder"?' in str(caught.value)
    assert "'encoder', 'exporter', 'importer', 'logger', 'mapper'" in new("capfw-tiny-eye", "--kind", "encodr").stderr


def test_it_starts_without_torch(tmp_path: Path) -> None:
    arguments = ["new", "plugin", "capfw-tiny-eye", "--kind", "decoder", "--output", str(tmp_path)]
    code = (
        f"import sys\nfrom capfw.cli import main\nmain({arguments!r}, standalone_mode=False)\n"
        "print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines()[-1] == "set()"
