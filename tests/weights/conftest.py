"""Published weights on a hub of this machine, and `capfw` in a process of its own: the client reads its settings once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CLI = "from capfw.cli import main; main()"
VIT = {"name": "vit", "weights": "me/vit"}
TIMM = {"name": "timm", "model": "test_vit"}
CLIP = {"name": "clip", "model": "ViT-B-32", "weights": "openai"}
GPT2 = {"name": "gpt2", "weights": "me/gpt"}


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Tiny models in the hub's layout: safetensors, a timm model, and the decoder once more as a pickle."""
    import timm
    import torch
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        PreTrainedTokenizerFast,
        ViTConfig,
        ViTImageProcessor,
        ViTModel,
    )

    root = tmp_path_factory.mktemp("hub")
    names = {"me/vit": "vit", "me/gpt": "gpt", "me/pickled": "pickled", "timm/test_vit.r160_in1k": "timm"}
    folders = {repository: root / name for repository, name in names.items()}
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    ViTModel(ViTConfig(image_size=32, patch_size=16, **sizes)).save_pretrained(root / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    words = Tokenizer(models.WordLevel({"[EOS]": 0, "a": 1, "red": 2, "blue": 3, "[UNK]": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="[EOS]", unk_token="[UNK]")
    decoder = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, n_positions=128, vocab_size=5))
    for name in ("gpt", "pickled"):
        tokenizer.save_pretrained(root / name)
        decoder.save_pretrained(root / name)
    file = root / "pickled" / "model.safetensors"
    torch.save(load_file(file), root / "pickled" / "pytorch_model.bin")
    file.unlink()
    (root / "timm").mkdir()
    save_file(timm.create_model("test_vit").state_dict(), root / "timm" / "model.safetensors")
    return folders


@dataclass(frozen=True)
class Machine:
    """A machine with a cache of its own, which starts empty."""

    folder: Path

    def spec(self, encoder: Mapping[str, Any], decoder: Mapping[str, Any], *metrics: str, **others: Any) -> Path:
        """A spec file of a short run on 16 images."""
        number = len(list(self.folder.glob("*.json")))
        content = {
            "capfw": 1,
            "data": {"name": "shapes", "num_train": 16, "num_val": 4, "num_test": 4, "image_size": 32},
            "encoder": encoder,
            "mapper": {"name": "mlp", "prefix_length": 2},
            "decoder": decoder,
            "train": {"epochs": 1, "max_steps": 1, "batch_size": 4},
            "metrics": [{"name": "cider"}, *({"name": name} for name in metrics)],
            "run_dir": f"runs/{number}",
            **others,
        }
        file = self.folder / f"spec-{number}.json"
        file.write_text(json.dumps(content))
        return file

    def capfw(self, *arguments: object, hub: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The result of a command on this machine. `hub`: the address of the hub, which it may look up."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(
            [sys.executable, "-c", CLI, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=self.folder,
            env={**inherited, "HF_HOME": str(self.folder / "cache"), "HF_ENDPOINT": hub, **environment},
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def hub_of(repositories: Mapping[str, Path]) -> Callable[..., Any]:
    """Serves the repositories with these names."""
    from .hub import served

    return lambda *names: served({name: repositories[name] for name in names})
