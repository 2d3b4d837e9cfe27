"""Random numbers that depend only on the run's seed and on their purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, *purpose: object) -> int:
    """A seed (below 2 ** 56) for one purpose, from a SHA-256 of the run's seed and the purpose."""
    words = " ".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(words.encode(errors="surrogatepass")).digest()[:7], "big")


@contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Seeds torch's CPU generator from `seed` and `purpose`, and restores its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, *purpose))
        yield
