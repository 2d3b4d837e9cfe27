"""The training loop: fetch, forward, backward, clip, step, schedule, record. One loop serves every combination."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import ComponentError, RunError, listed
from ..protocols import Batch, Loss, StepEnded
from ..spec.settings import TrainSettings
from .checkpoint import Checkpoints, Position
from .generate import autocast
from .inputs.captions import Numbers, micro_batches
from .inputs.reader import Reader
from .interruption import Interruption, interruptible
from .observing.observers import Observers
from .record import Record
from .seeds import seed_of
from .task import Task
from .tuning import parts_of

_FUSED_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})
_RECORD_EVERY_STEPS = 10


class Stopped(RunError):
    """A signal stopped training, after a checkpoint was written."""

    exit_code = 130


class Trainer:
    """Trains a task on the captions of one split. Each step depends only on the seed and on its own number."""

    def __init__(
        self,
        task: Task,
        reader: Reader,
        settings: TrainSettings,
        *,
        seed: int,
        accelerator: Accelerator,
        checkpoints: Checkpoints,
        observers: Observers,
    ) -> None:
        self.task, self.reader, self.settings, self.seed = task, reader, settings, seed
        self.accelerator, self.checkpoints, self.observers = accelerator, checkpoints, observers
        _require_row_wise(task, settings)
        num_rows = reader.captions.num_rows(task.as_objective.rows)
        self.steps_per_epoch = -(-num_rows // settings.batch_size)
        all_steps = settings.epochs * self.steps_per_epoch
        self.num_steps = min(settings.max_steps or all_steps, all_steps)
        self.num_epochs = -(-self.num_steps // self.steps_per_epoch)
        self.optimizer = make_optimizer(task, settings)
        self.scheduler = make_scheduler(self.optimizer, settings, self.num_steps)
        self.position = checkpoints.resume(task, self.optimizer, self.scheduler)
        self.wrapped, self.prepared = accelerator.prepare(task, self.optimizer)

    def run(self, at_epoch_end: Callable[[Position, bool], None]) -> None:
        """Trains to the last step. `at_epoch_end(position, is_last)` evaluates and reports the epoch."""
        with interruptible() as interruption:
            while self.position.epoch < self.num_epochs:
                self.train_epoch(interruption)
                self.save()
                at_epoch_end(self.position, self.position.step == self.num_steps)
                self.position = self.position.at_next_epoch()
                if self.accelerator.is_main_process:
                    self.checkpoints.move_to(self.position)
                if self._is_interrupted(interruption):
                    self._stop()

    def train_epoch(self, interruption: Interruption) -> None:
        """Trains the remaining steps of the current epoch."""
        steps = self._steps_left()
        record = Record()
        for step, batches in zip(steps, self._batches(steps), strict=True):
            record.add(step, *self.step(step, batches))
            self.position = self.position.after_a_step()
            # Read once: a later signal gets its checkpoint after the next step.
            is_asked = self.accelerator.num_processes == 1 or self.position.step % _RECORD_EVERY_STEPS == 0
            is_stop = is_asked and self._is_interrupted(interruption)
            is_save = self.position.step % self.settings.save_every_steps == 0 or is_stop
            if is_save or self.position.step % _RECORD_EVERY_STEPS == 0:
                record = self._report(record)
            if is_save:
                self.save()
            if is_stop:
                self._stop()
        self._report(record)

    def step(
        self, step: Numbers, batches: Sequence[tuple[Batch, bool]]
    ) -> tuple[dict[str, Loss], Tensor, dict[str, int]]:
        """One optimizer step. Returns the summed losses and the gradient norm (both on the device), and the denominators.

        A loss is the sum over target tokens, or rows, divided by their number in the whole step, over all micro-batches
        and processes. So padding, accumulation and the number of processes do not change it.
        """
        accelerator = self.accelerator
        torch.manual_seed(seed_of(self.seed, "step", self.position.step, accelerator.process_index))
        if not self.task.model.training:
            self.wrapped.train()
        counts = {"token": int(self.reader.captions.lengths[step].sum()), "row": len(step)}
        totals: dict[str, Loss] = {}
        for number, (batch, is_stand_in) in enumerate(batches):
            with _sync_only_if(number == len(batches) - 1, accelerator, self.wrapped):
                with autocast(accelerator.device, self.settings.precision):
                    losses: dict[str, Loss] = self.wrapped(batch)
                terms = [loss.weight * loss.sum / counts[loss.per] for loss in losses.values() if loss.weight]
                # Data-parallel training averages gradients over the processes, but the loss is a sum over them.
                accelerator.backward(sum(terms) * accelerator.num_processes * (0.0 if is_stand_in else 1.0))
            _add(totals, losses, is_stand_in=is_stand_in)
        norm = accelerator.clip_grad_norm_(self.wrapped.parameters(), self.settings.clip_norm or math.inf)
        self.prepared.step()
        self.scheduler.step()
        self.prepared.zero_grad()
        summed = {n: Loss(accelerator.reduce(loss.sum), loss.per, loss.weight) for n, loss in totals.items()}
        return summed, torch.as_tensor(norm), counts

    def save(self) -> None:
        """Writes a checkpoint of this step, unless it exists."""
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.position, self.task, self.optimizer, self.scheduler)
        self.accelerator.wait_for_everyone()

    def _is_interrupted(self, interruption: Interruption) -> bool:
        """Whether a signal has come to any process: it reaches each at another step, and all must stop at the same one."""
        if self.accelerator.num_processes == 1:
            return interruption.is_requested
        count = torch.tensor(float(interruption.is_requested), device=self.accelerator.device)
        return bool(self.accelerator.reduce(count).item())

    def _steps_left(self) -> list[Numbers]:
        plan = self.reader.captions.plan_epoch(
            self.seed, self.position.epoch, self.settings.batch_size, self.task.as_objective.rows
        )
        num_left = self.num_steps - self.position.step
        return plan[self.position.step_in_epoch :][:num_left]

    def _batches(self, steps: Sequence[Numbers]) -> Iterator[list[tuple[Batch, bool]]]:
        """This process's micro-batches of each step. True marks a stand-in: the process has no rows for it."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        parts = [micro_batches(step, self.settings.micro_batch_size, rank, world) for step in steps]
        groups = [
            part if len(part) else step[:1] for step, of_step in zip(steps, parts, strict=True) for part in of_step
        ]
        purposes = [
            f"step {self.position.step + number}" for number, of_step in enumerate(parts) for _ in range(len(of_step))
        ]
        batches = self.reader.of_captions(groups, purposes)
        for of_step in parts:
            yield [(next(batches), not len(part)) for part in of_step]

    def _report(self, record: Record) -> Record:
        """Reads the losses from the device, checks and reports them, and returns an empty record."""
        if len(record):
            here = self.position
            losses = record.read(
                lambda what, number, step: self._fail(what, here.step - len(record) + number + 1, step)
            )
            self.position = here.with_losses(losses.total * record.num_tokens, record.num_tokens)
            self.observers.tell(
                StepEnded(
                    step=here.step,
                    num_steps=self.num_steps,
                    epoch=here.epoch + 1,
                    loss=losses.total,
                    losses=losses.named,
                    lr=max(map(float, self.scheduler.get_last_lr())),
                    grad_norm=losses.grad_norm,
                    captions_per_second=record.num_rows / record.seconds(),
                )
            )
        return Record()

    def _fail(self, what: str, number: int, step: Numbers) -> NoReturn:
        samples, places = self.reader.inputs.samples, self.reader.captions.image_places[step]
        raise RunError(
            f"the {what} of step {number} is not finite; its images: {listed([samples[p].image_id for p in places], 10)}.",
            where="/train",
            fix='Lower /train/lr, add /train/warmup_steps, or set /train/precision to "float32". Choose another /run_dir '
            "for the new spec: a run cannot change its options.",
        )

    def _stop(self) -> NoReturn:
        raise Stopped(
            f"stopped after step {self.position.step} of {self.num_steps}; the checkpoint is in {self.checkpoints.folder}.",
            fix="Run the same command again to continue.",
        )


def _require_row_wise(task: Task, settings: TrainSettings) -> None:
    if settings.micro_batch_size is not None and not task.as_objective.is_row_wise:
        raise ComponentError(
            "this objective compares the rows of a batch with one another, so micro-batches would change the loss.",
            option="objective",
            fix="Set /train/micro_batch_size to null.",
        )


def _add(totals: dict[str, Loss], losses: Mapping[str, Loss], *, is_stand_in: bool) -> None:
    for name, loss in losses.items():
        value = loss.sum.detach() * (0.0 if is_stand_in else 1.0)
        before = totals[name].sum if name in totals else torch.zeros_like(value)
        totals[name] = Loss(before + value, loss.per, loss.weight)


def make_optimizer(task: Task, settings: TrainSettings) -> Optimizer:
    """AdamW over the trainable parameters, each part at its own rate. Weight decay applies to matrices only."""
    groups: list[dict[str, object]] = []
    for parameters, lr in _by_rate(task, settings):
        matrices, others = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
        groups.append({"params": matrices, "lr": lr, "weight_decay": settings.weight_decay})
        groups.append({"params": others, "lr": lr, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ComponentError(
            "nothing in this spec is trainable.", fix="Name a part with weights in /train/tune, or use another mapper."
        )
    return AdamW(groups, lr=settings.lr, fused=_can_fuse(task.parameters()))


def _can_fuse(parameters: Iterable[torch.nn.Parameter]) -> bool:
    """Whether torch has a fused AdamW for these parameters: real numbers on a CPU or GPU."""
    return all(p.is_floating_point() and p.device.type in _FUSED_DEVICES for p in parameters if p.requires_grad)


def _by_rate(task: Task, settings: TrainSettings) -> Iterator[tuple[list[torch.nn.Parameter], float]]:
    """Groups trainable parameters by learning rate; tied parameters appear once."""
    rates: dict[float, dict[int, torch.nn.Parameter]] = {}
    seen: set[int] = set()
    for name, part in [*parts_of(task.model), ("objective", task.objective)]:
        tuning = getattr(settings.tune, name, None)
        rate = settings.lr if tuning is None or tuning.lr is None else tuning.lr
        for parameter in part.parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                rates.setdefault(rate, {})[id(parameter)] = parameter
    return ((list(parameters.values()), rate) for rate, parameters in rates.items())


def make_scheduler(optimizer: Optimizer, settings: TrainSettings, num_steps: int) -> LambdaLR:
    """The learning-rate schedule: linear warm-up, then the decay in the settings, counted in optimizer steps.

    It equals that of transformers' `get_scheduler`, whose import alone takes seconds and loads peft where it is installed.
    """
    warm_up = settings.warmup_steps
    rest = max(1, num_steps - warm_up)
    decays: Mapping[str, Callable[[int], float]] = {
        "linear": lambda step: (num_steps - step) / rest,
        "cosine": lambda step: (1 + math.cos(math.pi * ((step - warm_up) / rest))) / 2,
        "constant": lambda step: 1.0,
    }
    decay = decays[settings.schedule]

    def factor(step: int) -> float:
        return step / warm_up if step < warm_up else max(0.0, decay(step))

    return LambdaLR(optimizer, factor)


@contextmanager
def _sync_only_if(is_final: bool, accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    """Synchronizes gradients between processes once per step, in the last micro-batch."""
    if is_final:
        yield
    else:
        with accelerator.no_sync(model):
            yield
