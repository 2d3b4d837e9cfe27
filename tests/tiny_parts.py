"""Sections of specs for parts so small that a whole run takes a second or two."""

from __future__ import annotations

from typing import Any

VIT: dict[str, Any] = {
    "name": "vit",
    "weights": "random",
    "features": "tokens",
    "architecture": {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2},
}
TRANSFORMER: dict[str, Any] = {"name": "transformer", "prefix_length": 2, "num_layers": 1, "num_heads": 2}
GPT2: dict[str, Any] = {
    "name": "gpt2",
    "weights": "random",
    "tokenizer": "from-captions",
    "num_layers": 1,
    "width": 16,
    "num_heads": 2,
    "max_positions": 64,
}
