"""Rows and threads do not disturb each other: what is sampled, and calls at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from capfw.core.protocols import BeamOptions, GreedyOptions, NucleusOptions, Prefix
from capfw.plugins.decoders.causal_lm import Gpt2Config

WORDS = ("a b c d e f g h i j k l m n o p q r s t u v w x y z",)
TINY = {"weights": "random", "num_layers": 2, "width": 16, "num_heads": 2, "max_positions": 64, "dropout": 0.0}
SAMPLING = NucleusOptions(max_tokens=10, top_p=0.95, temperature=1.5, num_captions=3)


@pytest.fixture
def decoder(build: Any) -> Any:
    return build(Gpt2Config(**TINY), WORDS).eval()


def vectors(num_rows: int) -> torch.Tensor:
    return torch.randn(num_rows, 4, 16, generator=torch.Generator().manual_seed(3))


def sampled(decoder: Any, given: torch.Tensor, seeds: list[int]) -> list[list[list[int]]]:
    ids = decoder.generate(Prefix(given), SAMPLING, torch.tensor(seeds)).ids
    return [ids[start : start + 3] for start in range(0, len(ids), 3)]


def test_what_is_sampled_for_a_row_depends_on_its_own_seed_alone(decoder: Any) -> None:
    given, seeds = vectors(6), [5, 2**62, 7, 8, 9, 10]
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    together = sampled(decoder, given, seeds)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert sampled(decoder, given, seeds) == together
    assert sampled(decoder, given.flip(0), seeds[::-1]) == together[::-1]
    assert [sampled(decoder, row[None], [seed])[0] for row, seed in zip(given, seeds, strict=True)] == together
    equal = sampled(decoder, given[:1].expand(6, -1, -1), seeds)
    assert len({str(captions) for captions in equal}) == 6
    assert sampled(decoder, given, [seed + 1 for seed in seeds]) != together


def test_the_captions_of_an_image_come_from_one_stream_in_order(decoder: Any) -> None:
    given, seeds = Prefix(vectors(4)), torch.arange(4)
    few, many = (
        decoder.generate(given, SAMPLING.model_copy(update={"num_captions": count}), seeds).ids for count in (1, 3)
    )
    for image in range(4):
        assert few[image] in many[3 * image : 3 * image + 3]


def test_calls_from_several_threads_give_what_they_give_one_after_the_other(decoder: Any, batch: Any) -> None:
    methods = [SAMPLING, GreedyOptions(max_tokens=10), BeamOptions(max_tokens=10), None]
    rows = batch(decoder.tokenize(["a b c", "d e", "f g h i j", "k"]))

    @torch.no_grad()
    def call(number: int) -> Any:
        given, options = Prefix(vectors(4) + 0.1 * number), methods[number % len(methods)]
        if options is None:
            return decoder.log_probs(given, rows).tolist()
        return decoder.generate(given, options, torch.arange(4) + number).ids

    expected = [call(number) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(40))) == expected
    assert not any(module.training for module in decoder.modules())
