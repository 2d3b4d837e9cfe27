"""A plugin whose light half imports torch."""

from __future__ import annotations

import torch
from sound_toys import EyeConfig, toy

from capfw.core.protocols import Component, hookimpl

assert torch


@hookimpl
def register_encoders() -> list[Component]:
    return [toy("eye", EyeConfig, "Eye")]
