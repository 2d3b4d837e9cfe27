"""Three small runs of 20 steps, over different parts, that the net watches."""

from __future__ import annotations

import copy
import platform
from pathlib import Path
from typing import Any

import torch

from capfw import hookimpl, load_spec, run
from capfw.core.protocols import StepEnded
from capfw.core.registry import Registry

NUM_STEPS = 20
_COMMON: dict[str, Any] = {
    "capfw": 1,
    "seed": 7,
    "data": {"name": "shapes", "num_train": 40, "num_val": 4, "num_test": 6, "image_size": 32},
    "features": {"num_workers": 0, "batch_size": 16},
    # A checkpoint after each step makes the engine report each step's loss.
    "train": {"epochs": 9, "max_steps": NUM_STEPS, "batch_size": 12, "lr": 0.02, "save_every_steps": 1},
    "generate": {"method": "greedy", "max_tokens": 20},
    "metrics": [{"name": "cider"}],
    "run_dir": "run",
}
_VIT = {
    "name": "vit",
    "weights": "random",
    "architecture": {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2},
}
_GPT2 = {"name": "gpt2", "weights": "random", "num_layers": 1, "width": 16, "num_heads": 2, "max_positions": 64}
_LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}

COMBINATIONS: dict[str, dict[str, Any]] = {
    # Dropout on, warm-up and accumulation.
    "vit-transformer-gpt2": {
        "encoder": {**_VIT, "features": "tokens"},
        "mapper": {"name": "transformer", "prefix_length": 2, "num_layers": 1, "num_heads": 2},
        "decoder": _GPT2,
        "train": {"warmup_steps": 4, "micro_batch_size": 5},
    },
    # Standardised pooled features, a task prompt, beams.
    "clip-mlp-gpt2": {
        "encoder": {
            "name": "clip",
            "weights": "random",
            "model": {
                "embed_dim": 16,
                "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
            },
        },
        "features": {"standardize": True},
        "mapper": {"name": "mlp", "prefix_length": 3},
        "decoder": {**_GPT2, "task_prompt": "a red"},
        "generate": {"method": "beam", "num_beams": 3, "max_tokens": 20},
    },
    # Another architecture of decoder, cosine decay. (Vocabularies of subwords differ from process to process.)
    "timm-perceiver-llama": {
        "encoder": {
            "name": "timm",
            "model": "test_vit",
            "weights": "random",
            "features": "tokens",
            "image_size": 32,
        },
        "mapper": {"name": "perceiver", "prefix_length": 2, "num_layers": 1, "num_heads": 2},
        "decoder": {
            "name": "causal-lm",
            "weights": "random",
            "architecture": _LLAMA,
        },
        "train": {"schedule": "cosine"},
    },
}


class Losses:
    """An observer that keeps the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    @hookimpl
    def step_ended(self, event: StepEnded) -> None:
        """Keeps the loss."""
        self.values.append(event.loss)


def spec_of(name: str) -> dict[str, Any]:
    """The JSON values of a combination's spec."""
    spec = copy.deepcopy(_COMMON)
    for section, value in COMBINATIONS[name].items():
        spec[section] = {**spec[section], **value} if section in ("train", "features") else value
    return spec


def outcome_of(name: str, folder: Path, registry: Registry) -> dict[str, Any]:
    """Losses by step and captions of the test split, as they are stored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    losses = Losses()
    try:
        spec = load_spec(spec_of(name), registry=registry, base_dir=folder)
        result = run(spec, registry=registry, observers=[losses])
    finally:
        torch.set_num_threads(threads)
    captions = {str(image_id): each[0].text for image_id, each in result.evaluation.captions.items()}
    return {"losses": losses.values, "captions": captions}


def machine() -> dict[str, str]:
    """Names the processor and the libraries on which the last bits of float32 sums depend."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {"torch": torch.__version__, "cpu": cpu, "capability": torch.backends.cpu.get_cpu_capability()}


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
