"""Compares two ways of computing the same, side by side: convolutions by memory layout, and AdamW's step.

python bench/speed.py [--weights MOBILENET_V1.safetensors] [--threads 1] [--repeats 5]

The two ways run in turn, in one process, over the same input; seconds are medians. The features of the two layouts, and
the weights after the steps, must be equal up to rounding. Above 1, capfw's way is faster. Without --weights, MobileNetV1
is random.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from capfw import load_part

MOBILENET = {"name": "timm", "model": "mobilenetv1_100", "model_args": {"pad_type": "same", "bn_eps": 0.001}}
EFFICIENTNET = {"name": "timm", "model": "efficientnet_lite2", "weights": "random"}
_BATCH = 32
_SHAPES = [(1024, 2048), (4096, 1024), (1024, 4096), (1024, 1024), (4096, 1024), (1024, 1024), *[(1024,)] * 12]


def medians(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Returns the median seconds of each way; the ways run in turn, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


def compare_layouts(section: Mapping[str, object], repeats: int) -> str:
    """Returns a line about an encoder, as capfw builds it and with contiguous weights."""
    encoders = {layout: load_part("encoder", section).build() for layout in ("contiguous", "channels last")}
    encoders["contiguous"].load_state_dict(encoders["channels last"].state_dict())
    encoders["contiguous"].to(memory_format=torch.contiguous_format)
    pixels = torch.rand(_BATCH, *encoders["contiguous"].data_config["input_size"])
    made: dict[str, Tensor] = {}

    def encode(layout: str) -> None:
        with torch.inference_mode():
            made[layout] = encoders[layout].encode(pixels)

    seconds = medians({layout: lambda layout=layout: encode(layout) for layout in encoders}, repeats)
    rates = {layout: _BATCH / each for layout, each in seconds.items()}
    difference = (made["contiguous"] - made["channels last"]).abs().max() / made["contiguous"].abs().max()
    assert difference < 1e-3, f"the features differ by {difference:.1e}"
    ways = ", ".join(f"{layout} {rate:6.1f} images/s" for layout, rate in rates.items())
    ratio = rates["channels last"] / rates["contiguous"]
    return f"{section['model']}: {ways}: ratio {ratio:.2f} (features differ by {difference:.0e} of the largest)"


def compare_steps(repeats: int) -> str:
    """Returns a line about AdamW's step over 17 million parameters."""
    torch.manual_seed(0)
    first = [torch.randn(shape) for shape in _SHAPES]
    models = {way: [nn.Parameter(value.clone()) for value in first] for way in ("default", "fused")}
    steps = {way: AdamW(each, lr=1e-3, fused=way == "fused") for way, each in models.items()}
    for parameters in zip(*models.values(), strict=True):
        gradient = torch.randn_like(parameters[0])
        for parameter in parameters:
            parameter.grad = gradient.clone()
    seconds = medians({way: optimizer.step for way, optimizer in steps.items()}, 3 * repeats)
    difference = max(float((a - b).detach().abs().max()) for a, b in zip(*models.values(), strict=True))
    assert difference < 1e-5, f"the weights differ by {difference:.1e}"
    count = sum(value.numel() for value in first)
    ways = ", ".join(f"{way} {1000 * each:.1f} ms" for way, each in seconds.items())
    ratio = seconds["default"] / seconds["fused"]
    return (
        f"AdamW, {count / 1e6:.1f} million parameters: {ways}: ratio {ratio:.2f} (weights differ by {difference:.0e})"
    )


def main() -> None:
    """Prints one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="random", help="MobileNetV1's weights, a local file.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"torch {torch.__version__}, {asked.threads} threads, load {os.getloadavg()[0]:.1f}")
    for section in ({**MOBILENET, "weights": asked.weights}, EFFICIENTNET):
        print(compare_layouts(section, asked.repeats), flush=True)
    print(compare_steps(asked.repeats))


if __name__ == "__main__":
    main()
