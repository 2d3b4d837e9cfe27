"""`--device`: every command that computes takes it, refuses a wrong one first, and no spec holds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from click.testing import Result

from capfw import load_spec, run
from capfw.core.engine.opening import opened
from capfw.core.engine.run_directory import RunDirectory
from capfw.core.registry import Registry

from .conftest import SPEC

Capfw = Callable[..., Result]
COMMANDS = [
    ("run", "nowhere.json"),
    ("extract", "nowhere.json"),
    ("train", "nowhere.json"),
    ("evaluate", "nowhere"),
    ("caption", "nowhere.jpg", "--run", "nowhere"),
    ("score", "nowhere.json", "--references", "nowhere.json"),
    ("import", "features", "nowhere.pt", "nowhere.json"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_device_that_is_not_here_is_refused_before_anything_else(capfw: Capfw, command: tuple[str, ...]) -> None:
    for wrong in ("gpu", "cuda:99", "meta"):
        result = capfw(*command, "--device", wrong)
        assert (result.exit_code, result.stdout) == (2, "")
        first, fix = result.stderr.splitlines()
        assert first.startswith(f'--device: this machine has no device "{wrong}"')
        assert fix.startswith("  Devices here: cpu")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_with_the_cpu_the_next_error_is_that_of_the_command(capfw: Capfw, command: tuple[str, ...]) -> None:
    result = capfw(*command, "--device", "cpu")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "--device" not in result.stderr


def test_the_device_is_no_part_of_a_run(capfw: Capfw, spec_file: Path, tmp_path: Path) -> None:
    shutil.copy(spec_file, tmp_path / "spec.json")
    assert capfw("extract", tmp_path / "spec.json", "--device", "cpu").exit_code == 0
    before = (tmp_path / "run/spec.json").read_text()
    assert capfw("train", tmp_path / "spec.json").exit_code == 0
    assert (tmp_path / "run/spec.json").read_text() == before == _resolved(tmp_path)
    facts = json.loads((tmp_path / "run/environment.json").read_text())
    assert (facts["device"], facts["device_name"]) == ("cpu", "cpu")


def _resolved(folder: Path) -> str:
    return json.dumps(load_spec(folder / "spec.json").to_json(), indent=2, ensure_ascii=False) + "\n"


@pytest.fixture
def own_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device that Accelerate chooses in a process that has not used it yet. Its index tells it from "cpu"."""
    own = torch.device("cpu", 0)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(PartialState, "default_device", property(lambda state: own))
    AcceleratorState._reset_state(reset_partial_state=True)
    yield own
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_run_keeps_its_device_and_the_next_one_does_not_inherit_it(
    spec_file: Path, tmp_path: Path, own_device: torch.device
) -> None:
    spec, registry = load_spec(spec_file), Registry.discover()
    net = torch.nn.Linear(1, 1)
    for number, device in enumerate(("cpu", None, "cpu", None)):
        with opened(spec, registry, RunDirectory(tmp_path / str(number)), lambda _: (), device=device) as run:
            run.accelerator.prepare(net, torch.optim.AdamW(net.parameters()))
            assert run.device == (own_device if device is None else torch.device(device))


@pytest.mark.gpu
def test_the_cpu_is_used_beside_a_gpu_and_the_gpu_after_it(spec_file: Path, tmp_path: Path) -> None:
    for number, device in enumerate(("cpu", "cuda", "cuda:0", "cpu")):
        spec = load_spec(spec_file, overrides={"/run_dir": str(tmp_path / f"{number}/run")})
        run(spec, device=device, until="train")
        facts = json.loads((tmp_path / f"{number}/run/environment.json").read_text())
        assert facts["device"].partition(":")[0] == device.partition(":")[0]


def test_several_processes_can_be_kept_on_the_cpu(tmp_path: Path) -> None:
    """Two processes on the CPU, started as `torchrun` does, without Accelerate's own variable."""
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(SPEC))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "capfw", "extract"]
    environment = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}
    done = subprocess.run(
        [sys.executable, *launcher, str(file), "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "run/environment.json").read_text())
    assert (facts["device"].partition(":")[0], facts["num_processes"]) == ("cpu", 2)
