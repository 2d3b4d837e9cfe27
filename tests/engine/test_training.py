"""One optimizer step must not depend on padding, on what else is in the batch, or on accumulation."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from capfw import load_spec
from capfw.core.engine.assembling import load_model
from capfw.core.engine.build import build_encoder, build_objective, prepare_assets
from capfw.core.engine.checkpoint import Checkpoints, Position
from capfw.core.engine.inputs.captions import Captions, micro_batches
from capfw.core.engine.inputs.reader import Reader
from capfw.core.engine.observing.observers import Observers
from capfw.core.engine.task import Task
from capfw.core.engine.trainer import Stopped, Trainer, make_optimizer
from capfw.core.protocols import Batch, MemorySource, Sample, TokenBatch
from capfw.core.registry import Registry

Write = Callable[..., Path]
CPU = torch.device("cpu")
SAMPLES = [
    Sample(0, MemorySource(b""), ("a red square", "one red square on its own in the very middle of it")),
    Sample(1, MemorySource(b""), ("a big blue circle above a small green star",)),
    Sample(2, MemorySource(b""), ("star", "a yellow star left of a red square")),
]


class Features:
    """Features of SAMPLES, in float64."""

    def __init__(self) -> None:
        self.samples, self.device, self.unreadable = SAMPLES, CPU, {}
        self.values = torch.randn(3, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def gather(self, groups: Sequence[Sequence[int]]) -> Iterator[torch.Tensor]:
        return (self.values[list(places)] for places in groups)


def _trainer(tiny: Write, registry: Registry, tmp_path: Path, micro_batch_size: int | None) -> Trainer:
    settings = {"batch_size": 5, "micro_batch_size": micro_batch_size, "lr": 0.01}
    spec = load_spec(tiny(train=settings, mapper={"dropout": 0.0}, decoder={"dropout": 0.0}), registry=registry)
    prepare_assets(spec, SAMPLES, tmp_path / "assets")
    model = load_model(spec, build_encoder(spec), tmp_path / "assets", is_restored=False).double()
    captions = Captions(SAMPLES, model.as_decoder, spec.train.max_caption_tokens)
    return Trainer(
        Task(model, build_objective(spec, CPU)),
        Reader(Features(), captions, None, seed=0),
        spec.train,
        seed=0,
        accelerator=Accelerator(cpu=True),
        checkpoints=Checkpoints(tmp_path / f"checkpoints-{micro_batch_size}"),
        observers=Observers(registry),
    )


def _batch(trainer: Trainer, captions: Sequence[int]) -> Batch:
    return next(trainer.reader.of_captions([np.asarray(captions)], [""]))


def test_accumulation_changes_neither_loss_nor_weights(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    outcomes = []
    for size in (None, 1, 2, 3):
        trainer = _trainer(tiny, registry, tmp_path, size)
        for _ in range(3):
            parts = micro_batches(np.arange(5), size, 0, 1)
            losses, _, counts = trainer.step(np.arange(5), [(_batch(trainer, part), False) for part in parts])
        weights = torch.cat([p.detach().flatten() for _, p in trainer.task.model.trainable()])
        outcomes.append((float(losses["cross-entropy"].sum) / counts["token"], weights))
    for loss, weights in outcomes[1:]:
        assert loss == pytest.approx(outcomes[0][0], abs=1e-6)  # summed in float32 for the log
        assert torch.allclose(weights, outcomes[0][1], rtol=0, atol=1e-10)


def test_adamw_is_fused_and_steps_as_torchs_default_does(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)
    groups = trainer.optimizer.param_groups
    assert all(group["fused"] for group in groups)
    copies = [
        {**g, "params": [p.detach().clone().requires_grad_() for p in g["params"]], "fused": False} for g in groups
    ]
    default = torch.optim.AdamW(copies, foreach=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for group, copied in zip(groups, copies, strict=True):
            for parameter, other in zip(group["params"], copied["params"], strict=True):
                parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
                other.grad = parameter.grad.clone()
        trainer.optimizer.step()
        default.step()
    for group, copied in zip(groups, copies, strict=True):
        torch.testing.assert_close(group["params"], copied["params"], rtol=0, atol=1e-12)


def test_complex_parameters_step_without_the_fused_way(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    task = _trainer(tiny, registry, tmp_path, None).task
    task.objective.register_parameter("phase", torch.nn.Parameter(torch.ones(2, dtype=torch.complex64)))
    settings = load_spec(tiny(), registry=registry).train
    optimizer = make_optimizer(task, settings)
    task.objective.phase.grad = torch.ones(2, dtype=torch.complex64)
    optimizer.step()
    assert (task.objective.phase != 1).all()


def test_loss_depends_on_neither_padding_nor_company(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)
    model, lengths = trainer.task.model.eval(), trainer.reader.captions.lengths

    def loss(batch: Batch) -> float:
        with torch.no_grad():
            return float(model.weighted_nll(model.prefix(batch), batch.tokens, batch.tokens.mask.double()))

    together, alone = loss(_batch(trainer, range(5))), [loss(_batch(trainer, [i])) for i in range(5)]
    assert _batch(trainer, range(5)).tokens.mask.sum() == lengths.sum()
    assert together == pytest.approx(sum(alone), abs=1e-10)

    batch = _batch(trainer, [0])
    padded = TokenBatch(
        torch.cat([batch.tokens.ids, torch.full((1, 9), 3)], dim=1),
        torch.cat([batch.tokens.mask, torch.zeros((1, 9), dtype=torch.bool)], dim=1),
    )
    assert loss(replace(batch, tokens=padded)) == pytest.approx(alone[0], abs=1e-10)


def test_every_caption_is_met_once_an_epoch_in_an_order_of_its_own(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    captions = _trainer(tiny, registry, tmp_path, None).reader.captions
    first, again, second = (captions.plan_epoch(1, epoch, 2) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(5))
    assert [a.tolist() for a in first] == [a.tolist() for a in again]
    assert [a.tolist() for a in first] != [a.tolist() for a in second]


def test_rows_that_are_images_have_each_image_once_with_one_of_its_captions(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    captions = _trainer(tiny, registry, tmp_path, None).reader.captions
    epochs = [np.concatenate(captions.plan_epoch(1, epoch, 2, "images")) for epoch in range(8)]
    assert all(sorted(captions.image_places[plan]) == [0, 1, 2] for plan in epochs)
    assert {number for plan in epochs for number in plan.tolist()} == set(range(5))


@pytest.mark.parametrize(("num_captions", "world", "size"), [(10, 1, 3), (10, 4, 2), (3, 4, None), (1, 2, 5)])
def test_micro_batches_share_out_a_step(num_captions: int, world: int, size: int | None) -> None:
    parts = [micro_batches(np.arange(num_captions), size, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1  # every process takes part in every exchange of gradients
    assert sorted(i for part in parts for piece in part for i in piece) == list(range(num_captions))


def test_a_loss_that_is_not_finite_names_step_and_images(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)
    trainer.reader.inputs.values[1] = float("nan")
    with pytest.raises(Exception, match=r"loss of step 1 .*images: .*1") as caught:
        trainer.run(lambda _position, _is_last: None)
    assert "/train/lr" in str(caught.value)


def test_a_gradient_that_is_not_finite_stops_before_its_weights_are_saved(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)  # one step an epoch, and a checkpoint after each
    weight = next(parameter for _, parameter in trainer.task.model.trainable())
    weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(Exception, match="the gradient of step 1 is not finite"):
        trainer.run(lambda _position, _is_last: None)
    assert trainer.checkpoints.last() is None


def test_a_signal_while_the_last_epoch_is_evaluated_stops_the_run(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)

    def evaluate(_position: Position, is_last: bool) -> None:
        if is_last:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match="stopped after step 2 of 2"):
        trainer.run(evaluate)
    assert trainer.checkpoints.last() == trainer.position == Position(step=2, epoch=2)
