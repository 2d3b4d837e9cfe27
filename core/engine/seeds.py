"""Random numbers that depend on what they are for, and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, *purpose: object) -> int:
    """A seed (below 2 ** 56) for one purpose: SHA-256 of the run's seed and the words."""
    words = " ".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:7], "big")


@contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Random numbers of torch start from `seed` and `purpose` inside, and are as they were after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, *purpose))
        yield
