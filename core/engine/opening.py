"""Opens a run: its directory and lock, the accelerator, and its observers."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs, PartialState
from accelerate.state import is_initialized

from ..errors import RequestError
from ..protocols import Progress
from ..registry import Registry, code_of
from ..spec import RunSpec
from .devices import parse_device
from .observing.observers import Observers
from .run_directory import RunDirectory

_LAUNCHERS = ("LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_GLOO_SECONDS = 0.2


@dataclass(frozen=True)
class Run:
    """The objects that every stage of a run receives. It holds no results: each stage returns its own.

    `code`: the version of the code of each component, by "kind name".
    """

    spec: RunSpec
    registry: Registry
    directory: RunDirectory
    accelerator: Accelerator
    observers: Observers
    code: Mapping[str, str]

    @property
    def device(self) -> torch.device:
        """The device on which this process computes."""
        return torch.device(self.accelerator.device)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def share(self) -> tuple[int, int]:
        """The index of this process, and the number of processes."""
        return self.accelerator.process_index, self.accelerator.num_processes

    def wait(self) -> None:
        """Waits until every process has reached this call."""
        self.accelerator.wait_for_everyone()

    def progress(self, stage: str, unit: str) -> Callable[[int, int], None]:
        """Returns a function of (done, total) that reports the progress of a stage, counted in `unit`."""
        return lambda done, total: self.observers.tell(Progress(stage, done, total, unit))

    def record(self, **facts: object) -> None:
        """Adds facts to environment.json, in the main process."""
        if self.is_main:
            self.directory.record(**facts)


@contextmanager
def opened(
    spec: RunSpec,
    registry: Registry,
    directory: RunDirectory,
    observers: Callable[[RunDirectory], Sequence[object]],
    *,
    device: str | torch.device | None = None,
) -> Iterator[Run]:
    """Yields a run with an exclusive lock on its directory. `observers` makes its observers, once the directory exists.

    Raises `RunError` when another process uses the directory, or when it cannot be written. Raises `RequestError` when
    this machine has no such device.
    """
    with _accelerator(spec, device) as accelerator, _locked(directory, accelerator):
        watchers = Observers(registry, observers(directory), is_main=accelerator.is_main_process)
        yield Run(spec, registry, directory, accelerator, watchers, code_of(spec.components))


@contextmanager
def _locked(directory: RunDirectory, accelerator: Accelerator) -> Iterator[None]:
    """Holds the lock, in the main process, while all processes use the directory."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    with directory:
        accelerator.wait_for_everyone()
        yield


def is_main_process() -> bool:
    """Whether this is the process that prints and writes: the first of those that `torchrun` started."""
    return bool(PartialState().is_main_process)


@contextmanager
def _accelerator(spec: RunSpec, device: str | torch.device | None) -> Iterator[Accelerator]:
    """Yields the accelerator on this device; by default on the device that Accelerate chooses."""
    wanted = None if device is None else parse_device(device)
    # The main process scores while the others wait; the default of ten minutes would end a long evaluation.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=12))
    # An encoder may have parameters that its features do not use, such as those of a projection.
    unused = DistributedDataParallelKwargs(find_unused_parameters=spec.train.tune.encoder is not None)
    # Only processes that a launcher started need `cpu=True`, to be connected. Accelerate keeps it for later runs, and
    # refuses it after another choice.
    is_cpu = wanted is not None and wanted.type == "cpu" and not is_initialized() and _is_launched()
    # It holds one precision for the whole process; the trainer itself uses that of each run.
    accelerator = Accelerator(mixed_precision="no", cpu=is_cpu, kwargs_handlers=[patience, unused])
    if accelerator.num_processes > 1:
        _let_gloo_finish()
    state = PartialState()  # every part of Accelerate copies the device from here, also in the middle of a run
    own = state.device
    if wanted is not None and accelerator.num_processes == 1:
        state.device = accelerator.state.device = wanted
    elif wanted is not None and (wanted.type != own.type or str(device).partition(":")[2]):
        raise RequestError(
            f'{accelerator.num_processes} processes cannot all compute on "{device}": each has its own device.',
            where="--device",
            fix='Name a kind of device, "cpu" or "cuda", or leave it out.',
        )
    try:
        yield accelerator
    finally:
        state.device = own


@cache
def _let_gloo_finish() -> None:
    """Has the process wait a moment before Python ends.

    A thread of gloo that still holds the tensors of the last collective takes the GIL to free them. When Python is
    already ending, that aborts the process (pytorch#190489). `destroy_process_group` does not end these threads.
    """
    atexit.register(time.sleep, _GLOO_SECONDS)


def _is_launched() -> bool:
    """Whether `torchrun`, `accelerate launch` or MPI started this process."""
    return any(name in os.environ for name in _LAUNCHERS)
