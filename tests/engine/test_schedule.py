"""The learning-rate schedules equal those of transformers."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from transformers import get_scheduler

from capfw.core.engine.trainer import make_scheduler
from capfw.core.spec.settings import TrainSettings

SAME = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@pytest.mark.parametrize("schedule", SAME)
@pytest.mark.parametrize(("warm_up", "num_steps"), [(0, 10), (1, 1), (7, 30), (40, 30)])
def test_the_rate_of_every_step_equals_that_of_transformers(
    schedule: Literal["linear", "cosine", "constant"], warm_up: int, num_steps: int
) -> None:
    settings = TrainSettings.model_construct(lr=3e-4, schedule=schedule, warmup_steps=warm_up)
    optimizers = [torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=settings.lr) for _ in range(2)]
    ours = make_scheduler(optimizers[0], settings, num_steps)
    theirs = get_scheduler(SAME[schedule], optimizers[1], num_warmup_steps=warm_up, num_training_steps=num_steps)
    for _ in range(num_steps):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12)
        for each in (*optimizers, ours, theirs):
            each.step()
    assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12, abs=1e-18)
