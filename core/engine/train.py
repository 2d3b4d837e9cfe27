"""The training loop: fetch, forward, backward, clip, step, schedule, record. One function serves every combination."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from ..errors import ComponentError, RunError
from ..protocols import EpochEnded, StepEnded, TokenBatch
from ..settings import TrainSettings
from .batches import Captions, micro_batches
from .checkpoint import Checkpoints, Position
from .features import SplitFeatures
from .model import CaptioningModel
from .observers import Observers

_RECORD_EVERY_STEPS = 10
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class Stopped(RunError):
    """Training was interrupted by a signal, after a checkpoint."""

    exit_code = 130


class Trainer:
    """Trains `model` on the captions of one split. Every step depends on the seed and its number alone."""

    def __init__(
        self,
        model: CaptioningModel,
        captions: Captions,
        features: SplitFeatures,
        settings: TrainSettings,
        *,
        seed: int,
        accelerator: Accelerator,
        checkpoints: Checkpoints,
        observers: Observers,
    ) -> None:
        self.model, self.captions, self.features = model, captions, features
        self.settings, self.seed = settings, seed
        self.accelerator, self.checkpoints, self.observers = accelerator, checkpoints, observers
        self.steps_per_epoch = -(-len(captions) // settings.batch_size)
        all_steps = settings.epochs * self.steps_per_epoch
        self.num_steps = min(settings.max_steps or all_steps, all_steps)
        self.num_epochs = -(-self.num_steps // self.steps_per_epoch)
        self.optimizer = make_optimizer(model, settings)
        self.scheduler = make_scheduler(self.optimizer, settings, self.num_steps)
        self.position = checkpoints.resume(model, self.optimizer, self.scheduler) or Position(0, 0, 0)
        self.wrapped, self.prepared = accelerator.prepare(model, self.optimizer)

    def run(self, at_epoch_end: Callable[[Position, bool], float | None]) -> Position:
        """Trains to the last step. `at_epoch_end(position, is_last)` evaluates and returns the validation loss."""
        with _stop_requested() as stop:
            while self.position.step < self.num_steps or self._at_boundary():
                if not self._at_boundary():
                    self._run_to_boundary(stop)
                position = self.position
                self._save(position)
                val_loss = at_epoch_end(position, position.step == self.num_steps)
                train_loss = position.loss_sum / max(1, position.num_tokens)
                self.observers.tell(EpochEnded(position.epoch + 1, self.num_epochs, train_loss, val_loss))
                if stop.is_set():
                    self._stop()
                if position.step == self.num_steps:
                    break
                self.position = Position(position.step, position.epoch + 1, 0)
        return self.position

    def _at_boundary(self) -> bool:
        position = self.position
        return position.step > 0 and (position.step_in_epoch == self.steps_per_epoch or position.step == self.num_steps)

    def _run_to_boundary(self, stop: threading.Event) -> None:
        plan = self.captions.plan_epoch(self.seed, self.position.epoch, self.settings.batch_size)
        record = _Record(time.perf_counter())
        for step in plan[self.position.step_in_epoch :]:
            record.add(*self.step(step), step)
            here = self.position
            self.position = here = Position(
                here.step + 1, here.epoch, here.step_in_epoch + 1, here.loss_sum, here.num_tokens
            )
            is_last = self._at_boundary()
            is_stop = stop.is_set()  # asked once: a signal that comes later finds its checkpoint after the next step
            is_save = here.step % self.settings.save_every_steps == 0 or is_stop
            if is_last or is_save or here.step % _RECORD_EVERY_STEPS == 0:
                self._flush(record)
                record = _Record(time.perf_counter())
            if is_save:
                self._save(self.position)
            if is_stop:
                self._stop()
            if is_last:
                return

    def _stop(self) -> NoReturn:
        raise Stopped(
            f"stopped after step {self.position.step} of {self.num_steps}; the checkpoint is in {self.checkpoints.folder}.",
            fix="Run the same command again to go on from here.",
        )

    def step(self, captions: NDArray[np.int64]) -> tuple[Tensor, Tensor, int]:
        """One optimizer step on the captions of these numbers: summed loss and gradient norm (on the device), tokens.

        The loss is the sum over target tokens divided by their number in the whole step, over all micro-batches and
        processes, so neither padding nor accumulation nor the number of processes changes it.
        """
        accelerator, settings = self.accelerator, self.settings
        seed_step(self.seed, self.position.step, accelerator.process_index)
        self.wrapped.train()
        num_tokens = int(self.captions.lengths[captions].sum())
        parts = micro_batches(captions, settings.micro_batch_size, accelerator.process_index, accelerator.num_processes)
        total = torch.zeros((), device=accelerator.device)
        for number, part in enumerate(parts):
            features, tokens = self._fetch(part if len(part) else captions[:1], is_weightless=not len(part))
            is_final = number == len(parts) - 1
            with _sync_only_if(is_final, accelerator, self.wrapped):
                loss_sum, _ = self.wrapped(features, tokens)
                # Data-parallel training averages gradients over processes; the loss is a sum over them.
                accelerator.backward(loss_sum * accelerator.num_processes / num_tokens)
            total += loss_sum.detach()
        norm = accelerator.clip_grad_norm_(self.wrapped.parameters(), settings.clip_norm or math.inf)
        self.prepared.step()
        self.scheduler.step()
        self.prepared.zero_grad()
        return accelerator.reduce(total), torch.as_tensor(norm), num_tokens

    def _fetch(self, part: NDArray[np.int64], *, is_weightless: bool) -> tuple[Tensor, TokenBatch]:
        tokens = self.captions.tokens(part, self.accelerator.device)
        if is_weightless:
            tokens = TokenBatch(tokens.ids, torch.zeros_like(tokens.mask))
        return self.features.gather(self.captions.image_places[part].tolist()), tokens

    def _flush(self, record: _Record) -> None:
        """Reads the losses back from the device, checks them, and tells the observers."""
        if not record.steps:
            return
        losses, norms = (torch.stack(values).tolist() for values in (record.losses, record.norms))
        here = self.position
        for number, (loss, norm, captions) in enumerate(zip(losses, norms, record.steps, strict=True)):
            if not math.isfinite(loss) or not math.isfinite(norm):
                what = "gradient" if math.isfinite(loss) else "loss"
                self._fail(what, here.step - len(losses) + number + 1, captions)
        seconds = time.perf_counter() - record.started
        self.position = Position(
            here.step,
            here.epoch,
            here.step_in_epoch,
            here.loss_sum + sum(losses),
            here.num_tokens + sum(record.num_tokens),
        )
        self.observers.tell(
            StepEnded(
                step=here.step,
                num_steps=self.num_steps,
                epoch=here.epoch + 1,
                loss=sum(losses) / sum(record.num_tokens),
                lr=float(self.scheduler.get_last_lr()[0]),
                grad_norm=norms[-1],
                captions_per_second=sum(map(len, record.steps)) / max(seconds, 1e-9),
            )
        )

    def _fail(self, what: str, step: int, captions: NDArray[np.int64]) -> NoReturn:
        ids = [self.features.samples[place].image_id for place in self.captions.image_places[captions]]
        shown = ", ".join(map(str, ids[:10])) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
        raise RunError(
            f"the {what} of step {step} is not finite; its images: {shown}.",
            where="/train",
            fix='Lower /train/lr, add /train/warmup_steps, or set /train/precision to "float32". Choose another /run_dir '
            "for it: a run goes on with the options it began with.",
        )

    def _save(self, position: Position) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(position, self.model, self.optimizer, self.scheduler)
        self.accelerator.wait_for_everyone()


class _Record:
    """Losses and gradient norms of a few steps, left on the device until they are flushed."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.num_tokens: list[int] = []
        self.steps: list[NDArray[np.int64]] = []

    def add(self, loss: Tensor, norm: Tensor, num_tokens: int, captions: NDArray[np.int64]) -> None:
        self.losses.append(loss)
        self.norms.append(norm)
        self.num_tokens.append(num_tokens)
        self.steps.append(captions)


def make_optimizer(model: CaptioningModel, settings: TrainSettings) -> Optimizer:
    """AdamW over what is trainable; weight decay on matrices only, as is usual, not on biases and norms."""
    parameters = [parameter for _, parameter in model.trainable()]
    if not parameters:
        raise ComponentError(
            "nothing in this spec is trainable.", fix="Tune the decoder, or use a mapper with weights."
        )
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=settings.lr, fused=parameters[0].is_cuda)


def make_scheduler(optimizer: Optimizer, settings: TrainSettings, num_steps: int) -> LRScheduler:
    """Linear warm-up and the decay the settings name, counted in optimizer steps."""
    scheduler: LRScheduler = get_scheduler(
        _SCHEDULES[settings.schedule],
        optimizer,
        num_warmup_steps=settings.warmup_steps,
        num_training_steps=num_steps,
    )
    return scheduler


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seeds dropout by the number of the step, so that a continued run draws what an undisturbed one draws."""
    torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} step {step} {rank}".encode()).digest()[:7], "big"))


@contextmanager
def _sync_only_if(is_final: bool, accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    """Gradients are exchanged between processes once per step, with the last micro-batch."""
    if is_final:
        yield
    else:
        with accelerator.no_sync(model):
            yield


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal acts as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        event.set()
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
