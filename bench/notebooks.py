"""Compares training and captioning in the notebooks with capfw, on one model and the same captions.

The notebooks pad captions to 50 tokens, compute logits at every position, and generate without a key-value cache, once per
reference. This script repeats their method with the modules that capfw builds, so only the methods differ.

python bench/notebooks.py [CAPTIONS.json]     # a COCO captions file; without it, the captions of drawn shapes
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from capfw import Registry, load_spec
from capfw.core.captions import read_captions
from capfw.core.engine.build import build_decoder, prepare_assets
from capfw.core.engine.inputs.captions import Captions
from capfw.core.engine.model import CaptioningModel
from capfw.core.protocols import FeatureShape, GreedyOptions, MemorySource, Prefix, Sample

BATCH_SIZE, PADDED_LENGTH, NUM_STEPS, NUM_IMAGES, REPEATS = 64, 50, 4, 64, 3
FEATURES = FeatureShape(num_tokens=1, dim=512)
SPEC: dict[str, Any] = {
    "capfw": 1,
    "data": None,
    "encoder": {"name": "vit", "weights": "random"},  # never built: the features are random numbers
    "mapper": {"name": "mlp", "prefix_length": 10},
    "decoder": {"name": "gpt2", "weights": "random", "num_layers": 6, "width": 384, "num_heads": 6, "dropout": 0.0},
    "metrics": [{"name": "cider"}],
    "run_dir": "unused",
}


def samples_of(arguments: list[str]) -> list[Sample]:
    """Returns samples with ids and references; the bench needs no images."""
    if arguments:
        images = read_captions(Path(arguments[0]), Registry.discover()).images
        return [Sample(image_id, MemorySource(b""), entry.captions) for image_id, entry in images.items()]
    from capfw import load_part

    return list(load_part("dataset", {"name": "shapes"}).build().samples("train"))


class Bench:
    """A model, its optimizer, random features and the captions."""

    def __init__(self, samples: list[Sample], folder: Path) -> None:
        spec = load_spec(SPEC)
        prepare_assets(spec, samples, folder)
        decoder = build_decoder(spec, folder)
        mapper = spec.mapper.build(features=FEATURES, embed_dim=decoder.embed_dim)
        self.model = CaptioningModel(mapper, decoder, FEATURES)
        self.captions = Captions(samples, self.model.as_decoder, PADDED_LENGTH)
        self.features = torch.randn(len(samples), 1, FEATURES.dim)
        self.seeds = torch.arange(NUM_IMAGES)  # greedy captions do not depend on them
        self.num_references = round(len(self.captions) / len(samples))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)

    def steps(self) -> Iterator[np.ndarray]:
        """Yields the caption numbers of each timed step."""
        yield from self.captions.plan_epoch(0, 0, BATCH_SIZE)[:NUM_STEPS]

    def train(self, loss_of: Callable[[Tensor, np.ndarray], Tensor]) -> None:
        """Runs the timed steps with one of the two losses."""
        self.model.train()
        for numbers in self.steps():
            loss_of(self.features[self.captions.image_places[numbers]], numbers).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def loss(self, features: Tensor, numbers: np.ndarray) -> Tensor:
        """Computes the loss as capfw does: batches of like lengths, and logits at the targets only."""
        tokens = self.captions.tokens(numbers, features.device)
        return self.model.weighted_nll(self.prefix(features), tokens, tokens.mask.float()) / tokens.mask.sum()

    def prefix(self, features: Tensor) -> Prefix:
        """Maps features (B, N, D) to a prefix (B, P, E)."""
        return Prefix(self.model.as_mapper(features))

    def notebooks_loss(self, features: Tensor, numbers: np.ndarray) -> Tensor:
        """Computes the loss as the notebooks do: captions padded to 50 tokens, and logits at every position."""
        batch = self.captions.tokens(numbers, features.device)
        room = (0, PADDED_LENGTH - batch.ids.shape[1])
        ids, mask = functional.pad(batch.ids, room), functional.pad(batch.mask, room)
        prefix, network = self.prefix(features).vectors, self.model.decoder.model
        inputs = torch.cat([prefix, network.get_input_embeddings()(ids)], dim=1)  # (B, P + 50, E)
        seen = torch.cat([torch.ones(prefix.shape[:2], dtype=torch.bool), mask], dim=1)
        logits = network(inputs_embeds=inputs, attention_mask=seen.long(), use_cache=False).logits  # (B, P + 50, V)
        targets = ids.masked_fill(~mask, -100)
        return functional.cross_entropy(logits[:, prefix.shape[1] - 1 : -1].flatten(0, 1), targets.flatten())

    def caption(self) -> list[list[int]]:
        """Generates as capfw does: once per image, with one new position per step."""
        self.model.eval()
        return self.model.generate(
            self.prefix(self.features[:NUM_IMAGES]), GreedyOptions(max_tokens=20), self.seeds
        ).ids

    @torch.no_grad()
    def notebooks_caption(self) -> list[list[int]]:
        """Generates as the notebooks do: once per reference, with all positions in every step."""
        self.model.eval()
        network, made = self.model.decoder.model, []
        for _ in range(self.num_references):
            inputs = self.prefix(self.features[:NUM_IMAGES]).vectors  # (B, P, E), growing
            ids = torch.empty(NUM_IMAGES, 0, dtype=torch.int64)
            while ids.shape[1] < 20 and not (ids == self.model.decoder.stop_id).any(1).all():
                logits = network(inputs_embeds=inputs, use_cache=False).logits[:, -1]
                logits[:, self.model.decoder.tokenizer.unk_token_id] = -torch.inf  # capfw never writes [UNK] either
                chosen = logits.argmax(-1, keepdim=True)
                ids = torch.cat([ids, chosen], dim=1)
                inputs = torch.cat([inputs, network.get_input_embeddings()(chosen)], dim=1)
            made = ids.tolist()
        return made


def require_same_results(bench: Bench) -> None:
    """Raises `AssertionError` unless the losses are equal, and the captions up to their end."""
    bench.model.eval()
    numbers = next(bench.steps())
    features = bench.features[bench.captions.image_places[numbers]]
    with torch.no_grad():
        torch.testing.assert_close(bench.loss(features, numbers), bench.notebooks_loss(features, numbers))
    for ours, theirs in zip(bench.caption(), bench.notebooks_caption(), strict=True):
        assert ours == theirs[: len(ours)]


def compare(name: str, unit: str, count: int, theirs: Callable[[], object], ours: Callable[[], object]) -> None:
    """Times both methods in turn after a warm-up; prints the medians and their ratio."""
    seconds: dict[str, list[float]] = {"notebooks": [], "capfw": []}
    for _ in range(REPEATS + 1):
        for way, run in (("notebooks", theirs), ("capfw", ours)):
            started = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - started)
    theirs_s, ours_s = (statistics.median(seconds[way][1:]) for way in ("notebooks", "capfw"))
    print(
        f"{name:<11} notebooks {count / theirs_s:7.0f} {unit}/s   capfw {count / ours_s:7.0f} {unit}/s   "
        f"{theirs_s / ours_s:.1f} times as fast"
    )


def main() -> None:
    """Prints a line for training and one for captioning."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(samples_of(sys.argv[1:]), Path(folder))
    require_same_results(bench)
    lengths = bench.captions.lengths
    print(
        f"{torch.get_num_threads()} threads; GPT-2 of 6 layers, width 384, {len(bench.model.decoder.tokenizer):,} words; "
        f"captions of {lengths.mean():.1f} tokens, {bench.num_references} per image"
    )
    compare(
        "training",
        "captions",
        BATCH_SIZE * NUM_STEPS,
        lambda: bench.train(bench.notebooks_loss),
        lambda: bench.train(bench.loss),
    )
    compare("captioning", "images", NUM_IMAGES, bench.notebooks_caption, bench.caption)


if __name__ == "__main__":
    main()
