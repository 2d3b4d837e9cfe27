"""Four capabilities as plugins of at most 70 lines that touch no other file, and one as a key of the spec.

Each plugin is registered by a `.dist-info` in a temporary folder, as an installed package's is, and run by `capfw run`.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

from capfw import Captioner
from capfw.cli import main

Install: TypeAlias = Callable[[str], None]
PLUGINS = Path(__file__).with_name("plugins")
MOST_LINES = 70
SPEC: dict[str, Any] = {
    "capfw": 1,
    "data": {"name": "shapes", "num_train": 24, "num_val": 4, "num_test": 4, "image_size": 32},
    "features": {"num_workers": 0},
    "encoder": {
        "name": "vit",
        "weights": "random",
        "features": "tokens",
        "architecture": {"image_size": 32, "patch_size": 16, "width": 16, "num_layers": 1, "num_heads": 2},
    },
    "mapper": {"name": "transformer", "prefix_length": 2, "num_layers": 1, "num_heads": 2},
    "decoder": {"name": "gpt2", "weights": "random", "num_layers": 1, "width": 32, "num_heads": 2, "max_positions": 96},
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.01, "save_every_steps": 1},
    "generate": {"method": "greedy", "max_tokens": 16},
    "metrics": [{"name": "cider"}],
    "run_dir": "run",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a plugin module an installed package, for the time of a test."""

    def install(module: str) -> None:
        monkeypatch.syspath_prepend(str(_site(module, tmp_path)))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def _site(module: str, folder: Path) -> Path:
    """A folder that Python takes for one with an installed package; the plugin module is all it has."""
    site = folder / "site"
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(PLUGINS / f"{module}.py", site)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[capfw]\n{module} = {module}\n")
    return site


def _run(folder: Path, **sections: object) -> Path:
    """`capfw run` of the spec with sections replaced or added to; returns the run directory."""
    spec = copy.deepcopy(SPEC)
    for section, value in sections.items():
        is_part = section == "train" and isinstance(value, dict)
        spec[section] = {**spec[section], **value} if is_part else value
    file = folder / "spec.json"
    file.write_text(json.dumps(spec))
    done = CliRunner().invoke(main, ["--debug", "run", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "run"


def _log(run_dir: Path, event: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def _candidates(run_dir: Path) -> dict[str, str]:
    return {c["image_id"]: c["caption"] for c in json.loads((run_dir / "candidates/test.json").read_text())}


@pytest.mark.parametrize("file", sorted(PLUGINS.glob("*.py")), ids=lambda file: file.stem)
def test_no_plugin_is_longer_than_seventy_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MOST_LINES


def test_an_objective_rewards_sampled_captions(tmp_path: Path, install: Install) -> None:
    first = tmp_path / "first"
    first.mkdir()
    _run(first, train={"epochs": 8})
    install("reward_objective")
    objective = {"name": "group-reward", "metric": {"name": "rouge-l"}, "num_samples": 6}
    settings = {"objective": objective, "from": str(first / "run"), "epochs": 20, "lr": 0.003, "micro_batch_size": 8}
    run_dir = _run(tmp_path, train=settings)
    rewards = [step["losses"]["reward"] for step in _log(run_dir, "step")]
    assert len(rewards) == 40  # 24 images, 16 a step, 20 epochs
    assert sum(rewards[-8:]) / 8 > sum(rewards[:8]) / 8 + 0.02


def test_a_mapper_has_a_loss_of_its_own(tmp_path: Path, install: Install) -> None:
    install("mapper_with_loss")
    squares = {}
    for weight in (0.0, 5.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        steps = _log(_run(folder, mapper={"name": "calm", "weight": weight}), "step")
        losses = steps[-1]["losses"]
        assert steps[-1]["loss"] == pytest.approx(losses["cross-entropy"] + weight * losses["prefix-square"])
        squares[weight] = losses["prefix-square"]
    assert squares[5.0] < squares[0.0] / 2


def test_a_context_gives_each_image_a_text(tmp_path: Path, install: Install) -> None:
    install("nearest_context")
    run_dir = _run(tmp_path, context={"name": "nearest"})
    assert (run_dir / "assets/context/index.pt").is_file()
    assert len(_candidates(run_dir)) == 4
    with_text = [step["loss"] for step in _log(run_dir, "step")]
    plain = tmp_path / "plain"
    plain.mkdir()
    without = [step["loss"] for step in _log(_run(plain), "step")]
    assert with_text[0] != without[0]  # the decoder reads the text
    captioner = Captioner.load(run_dir, device="cpu")
    samples = captioner.spec.data.build().samples("test")
    captions = captioner.caption([sample.source for sample in samples], ids=[sample.image_id for sample in samples])
    assert [each[0].text for each in captions] == list(_candidates(run_dir).values())


def test_sounds_are_captioned_without_an_image(tmp_path: Path, install: Install) -> None:
    install("tones")
    run_dir = _run(
        tmp_path,
        data={"name": "tones"},
        encoder={"name": "spectrum"},
        mapper={"name": "mlp", "prefix_length": 2},
        train={"epochs": 15, "best_by": "loss"},
    )
    candidates = list(_candidates(run_dir).values())
    assert candidates == ["a low tone", "a middle tone", "a high tone"] * 6
    assert (run_dir / "report.html").is_file()


def test_a_tuned_encoder_reaches_a_lower_loss_than_a_frozen_one(tmp_path: Path) -> None:
    losses = {}
    for name, tune in {"frozen": {}, "tuned": {"encoder": {"lr": 0.003}}}.items():
        folder = tmp_path / name
        folder.mkdir()
        run_dir = _run(folder, train={"epochs": 12, "lr": 0.003, "tune": tune, "best_by": "loss"})
        losses[name] = min(epoch["val_loss"] for epoch in _log(run_dir, "epoch"))
    assert losses["tuned"] < losses["frozen"]
    assert not list(tmp_path.glob("tuned/features/*/shard-*"))  # its features are never stored
