"""One optimizer step must not depend on padding, on what else is in the batch, or on accumulation."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from capfw import load_spec
from capfw.core.engine.batches import Captions, micro_batches
from capfw.core.engine.build import build_model, prepare_assets
from capfw.core.engine.checkpoint import Checkpoints, Position
from capfw.core.engine.observers import Observers
from capfw.core.engine.train import Stopped, Trainer
from capfw.core.protocols import FeatureShape, Sample, TokenBatch
from capfw.core.registry import Registry

Write = Callable[..., Path]
SAMPLES = [
    Sample(0, b"", ("a red square", "one red square on its own in the very middle of it")),
    Sample(1, b"", ("a big blue circle above a small green star",)),
    Sample(2, b"", ("star", "a yellow star left of a red square")),
]


class Features:
    """Features of SAMPLES, in float64."""

    def __init__(self) -> None:
        self.samples = SAMPLES
        self.values = torch.randn(3, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def gather(self, places: list[int]) -> torch.Tensor:
        return self.values[places]


def _trainer(tiny: Write, registry: Registry, tmp_path: Path, micro_batch_size: int | None) -> Trainer:
    settings = {"batch_size": 5, "micro_batch_size": micro_batch_size, "lr": 0.01}
    spec = load_spec(tiny(train=settings, mapper={"dropout": 0.0}, decoder={"dropout": 0.0}), registry=registry)
    prepare_assets(spec, SAMPLES, tmp_path / "assets")
    model = build_model(spec, FeatureShape(4, 16), tmp_path / "assets").double()
    captions = Captions(SAMPLES, model.as_decoder, spec.train.max_caption_tokens)
    return Trainer(
        model,
        captions,
        Features(),
        spec.train,
        seed=0,
        accelerator=Accelerator(cpu=True),
        checkpoints=Checkpoints(tmp_path / f"checkpoints-{micro_batch_size}"),
        observers=Observers(registry),
    )


def test_accumulation_changes_neither_loss_nor_weights(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    outcomes = []
    for size in (None, 1, 2, 3):
        trainer = _trainer(tiny, registry, tmp_path, size)
        for _ in range(3):
            loss, _, num_tokens = trainer.step(np.arange(5))
        weights = torch.cat([p.detach().flatten() for _, p in trainer.model.trainable()])
        outcomes.append((float(loss) / num_tokens, weights))
    for loss, weights in outcomes[1:]:
        assert loss == pytest.approx(outcomes[0][0], abs=1e-6)  # summed in float32 for the log
        assert torch.allclose(weights, outcomes[0][1], rtol=0, atol=1e-10)


def test_loss_depends_on_neither_padding_nor_company(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)
    model, captions, features = trainer.model.eval(), trainer.captions, Features()
    cpu = torch.device("cpu")
    together, count = model(features.gather(captions.image_places.tolist()), captions.tokens(np.arange(5), cpu))
    alone = [model(features.gather([captions.image_places[i]]), captions.tokens(np.array([i]), cpu)) for i in range(5)]
    assert int(count) == sum(int(n) for _, n in alone) == captions.lengths.sum()
    assert float(together) == pytest.approx(sum(float(loss) for loss, _ in alone), abs=1e-10)

    tokens = captions.tokens(np.array([0]), cpu)
    padded = TokenBatch(
        torch.cat([tokens.ids, torch.full((1, 9), 3)], dim=1),
        torch.cat([tokens.mask, torch.zeros((1, 9), dtype=torch.bool)], dim=1),
    )
    assert float(model(features.gather([0]), padded)[0]) == pytest.approx(float(alone[0][0]), abs=1e-10)


def test_every_caption_is_met_once_an_epoch_in_an_order_of_its_own(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    captions = _trainer(tiny, registry, tmp_path, None).captions
    first, again, second = (captions.plan_epoch(1, epoch, 2) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(5))
    assert [a.tolist() for a in first] == [a.tolist() for a in again]
    assert [a.tolist() for a in first] != [a.tolist() for a in second]


@pytest.mark.parametrize(("num_captions", "world", "size"), [(10, 1, 3), (10, 4, 2), (3, 4, None), (1, 2, 5)])
def test_micro_batches_share_out_a_step(num_captions: int, world: int, size: int | None) -> None:
    parts = [micro_batches(np.arange(num_captions), size, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1  # every process takes part in every exchange of gradients
    assert sorted(i for part in parts for piece in part for i in piece) == list(range(num_captions))


def test_a_loss_that_is_not_finite_names_step_and_images(tiny: Write, registry: Registry, tmp_path: Path) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)
    trainer.features.values[1] = float("nan")
    with pytest.raises(Exception, match=r"loss of step 1 .*images: .*1") as caught:
        trainer.run(lambda _position, _is_last: None)
    assert "/train/lr" in str(caught.value)


def test_a_gradient_that_is_not_finite_stops_before_its_weights_are_saved(
    tiny: Write, registry: Registry, tmp_path: Path
) -> None:
    trainer = _trainer(tiny, registry, tmp_path, None)  # one step an epoch, and a checkpoint after each
    weight = next(parameter for _, parameter in trainer.model.trainable())
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
    assert trainer.checkpoints.last() == trainer.position
