"""The library: parts from a registry, a captioner with other parts, stages by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import capfw
from capfw import CapfwError, Captioner, Registry, load_part, load_spec, run
from capfw.core.engine.devices import devices_here, parse_device
from capfw.core.errors import IncompatibleComponents, RequestError, RunError, SpecError
from capfw.core.protocols import Batch, FeatureShape, TokenBatch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Write = Callable[..., Path]


def test_public_names_resolve_when_used_and_those_without_models_load_no_torch() -> None:
    code = (
        "import sys, capfw\n"
        "assert not {'pydantic', 'torch'} & sys.modules.keys()\n"
        "light = ('CapfwError', 'Registry', 'RunSpec', 'hookimpl', 'load_part', 'load_spec')\n"
        "for name in (*light, 'compare', 'score_files'):\n"
        "    getattr(capfw, name)\n"
        "assert 'torch' not in sys.modules\n"
        "print(*(name for name in capfw.__all__ if not callable(getattr(capfw, name))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    assert dir(capfw) == sorted(capfw.__all__)


def test_load_part_reads_what_a_spec_says(registry: Registry) -> None:
    part = load_part("mapper", {"name": "mlp", "prefix_length": 3}, registry=registry)
    mapper = part.build(features=FeatureShape(1, 8), embed_dim=4)
    assert mapper(torch.zeros(2, 1, 8)).shape == (2, 3, 4)


def test_load_part_reports_every_problem(registry: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        load_part("mapper", {"name": "mlp", "prefix_lenth": 3, "dropout": "much"}, registry=registry)
    assert {problem.pointer for problem in caught.value.problems} == {"/prefix_lenth", "/dropout"}
    with pytest.raises(SpecError, match='Did you mean "mlp"'):
        load_part("mapper", {"name": "mpl"}, registry=registry)


def test_another_mapper_changes_the_captioner_and_leaves_the_first(captioner: Captioner, registry: Registry) -> None:
    mapper = load_part("mapper", {"name": "mlp", "prefix_length": 4}, registry=registry).build(
        features=captioner.encoder.feature_shape, embed_dim=captioner.model.as_decoder.embed_dim
    )
    changed = captioner.with_parts(mapper=mapper.train())
    nothing = torch.zeros(3, 0, dtype=torch.int64)
    tokens, seeds = TokenBatch(nothing, nothing.bool()), torch.zeros(3, dtype=torch.int64)
    batch = Batch([], torch.randn(3, 1, 16), tokens, None, seeds)
    assert changed.model.prefix(batch).vectors.shape == (3, 4, 16)
    assert captioner.model.prefix(batch).vectors.shape == (3, 2, 16)
    assert changed.model.as_decoder is captioner.model.as_decoder
    assert not mapper.training
    assert torch.equal(changed.model.feature_mean, captioner.model.feature_mean)
    assert captioner.model.feature_mean.abs().sum() > 0


class Narrow(nn.Module):
    """Takes and gives whatever widths it is told."""

    prefix_length = 2

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, embed_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.project(features).expand(-1, self.prefix_length, -1)


@pytest.mark.parametrize(
    ("dim", "embed_dim", "message"),
    [(8, 16, r"does not take features \(B, 1, 16\)"), (16, 8, r"prefix \(1, 2, 8\) .* needs \(1, 2, 16\)")],
)
def test_a_part_that_does_not_fit_is_refused(captioner: Captioner, dim: int, embed_dim: int, message: str) -> None:
    with pytest.raises(IncompatibleComponents, match=message):
        captioner.with_parts(mapper=Narrow(dim, embed_dim))
    assert captioner.with_parts(mapper=Narrow(16, 16)).caption([]) == []


def test_a_prefix_too_long_for_the_decoder_is_refused(captioner: Captioner) -> None:
    mapper = Narrow(16, 16)
    mapper.prefix_length = 60
    with pytest.raises(IncompatibleComponents, match="has 64"):
        captioner.with_parts(mapper=mapper)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "gpu", "meta"])
def test_a_device_that_is_not_here_is_refused(captioner: Captioner, device: str) -> None:
    with pytest.raises(RunError, match=f'^--device: this machine has no device "{device}"') as caught:
        Captioner.load(captioner.spec.run_dir, device=device)
    first, fix = str(caught.value).splitlines()
    assert len(first) < 160
    assert fix.startswith(f"  Devices here: {', '.join(devices_here())}.")


def test_a_gpu_is_called_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(RequestError, match=r'Devices here: cpu, cuda, cuda:0, cuda:1\.  Did you mean "cuda"\?$'):
        parse_device("gpu")
    with pytest.raises(RequestError, match="3 is no device"):
        parse_device(3)  # type: ignore[arg-type]  # wrong on purpose
    assert parse_device(torch.device("cpu")) == parse_device("cpu") == torch.device("cpu")


def test_an_unknown_stage_is_refused_before_anything_is_written(tiny: Write, registry: Registry) -> None:
    spec = load_spec(tiny(), registry=registry)
    with pytest.raises(CapfwError, match=r'no stage is called "extrct"[^?]*Did you mean "extract"'):
        run(spec, registry=registry, until="extrct")
    assert not spec.run_dir.exists()


def test_captioning_on_a_cpu_leaves_every_gpu_alone(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", asked.append)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *state: asked.append(state))
    assert captioner.caption([Image.new("RGB", (20, 20))])
    assert asked == []
