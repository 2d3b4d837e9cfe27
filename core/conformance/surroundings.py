"""State that a plugin must not change: the network, the random numbers, and the settings of the process."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch


@contextmanager
def offline() -> Iterator[list[str]]:
    """Refuses every connection. Yields the hosts that were requested, even if the caller ignored the failure."""
    asked: list[str] = []

    def refuse_name(host: object, *_: object, **__: object) -> None:
        asked.append(str(host))
        raise OSError("the conformance kit allows no network")

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse_name(address)
        _connect(self, address)

    _connect: Callable[[socket.socket, Any], None] = socket.socket.connect
    with (
        mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"}),
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse_name),
    ):
        yield asked


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one thread: the tensors are tiny, and parallel tests would wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settings() -> dict[str, object]:
    """The settings of the process that all components share, by name."""
    return {
        "the working directory": os.getcwd(),
        "the environment variables": dict(os.environ),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def random_states() -> dict[str, object]:
    """The states of the global random number generators, by name, in a comparable form."""
    return {
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state(legacy=False)),
        "random": random.getstate(),
    }


@contextmanager
def seeds(seed: int) -> Iterator[None]:
    """Seeds the generators of torch, numpy and Python with `seed`, and restores their states afterwards."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
        finally:
            np.random.set_state(of_numpy)
            random.setstate(of_python)
