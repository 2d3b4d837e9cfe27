"""The memory layout in which a network computes fastest."""

from __future__ import annotations

import torch
from torch import nn


def in_fastest_layout(net: nn.Module) -> nn.Module:
    """Puts the weights of a convolutional network in channels-last layout, in place; returns `net`.

    Values, names and shapes stay; outputs change by rounding. On a CPU, most are then 1.2 to 2.3 times as fast
    (docs/benchmarks.md). A network with one convolution embeds patches and is a Transformer otherwise: it gains nothing.
    """
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions if len(convolutions) > 1 else ():
        convolution.to(
            memory_format=torch.channels_last
        )  # one by one: the weights of a 3-d convolution have no such layout
    return net
