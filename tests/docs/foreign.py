"""Files of other projects, for docs/importing.md: made here in their layouts, from tiny models with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

_WIDTH, _PREFIX_LENGTH, _CLIP_DIM = 16, 4, 12
_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def write_foreign_files(folder: Path) -> None:
    """my-clip/, my-gpt2/, clipcap.pt, prompted.pth, embeddings.pt and spec-own-clip.json, beside spec.json and images/."""
    torch.manual_seed(0)
    clip = CLIPModel(
        CLIPConfig(
            projection_dim=_CLIP_DIM,
            vision_config=_SIZES | {"image_size": 32, "patch_size": 16},
            text_config=_SIZES | {"vocab_size": 64, "bos_token_id": 62, "eos_token_id": 63},
        )
    )
    clip.save_pretrained(folder / "my-clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder / "my-clip"
    )
    gpt2 = _gpt2(folder / "my-gpt2")
    tuned = {f"gpt.{name}": value for name, value in gpt2.state_dict().items()}
    torch.save(tuned | _mlp("clip_project"), folder / "clipcap.pt")
    prompt = {"task_prefix_embeds": torch.randn(3, _WIDTH)}
    torch.save(_mlp("mapping_network") | prompt, folder / "prompted.pth")
    _features(folder)


def _gpt2(folder: Path) -> GPT2LMHeadModel:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["a photo of a photo of"] * 9, vocab_size=300, special_tokens=["<|endoftext|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(fast),
            n_embd=_WIDTH,
            n_layer=1,
            n_head=2,
            n_positions=128,
            bos_token_id=fast.eos_token_id,
            eos_token_id=fast.eos_token_id,
        )
    )
    model.save_pretrained(folder)
    return model


def _mlp(root: str) -> dict[str, torch.Tensor]:
    out = _PREFIX_LENGTH * _WIDTH
    return {
        f"{root}.model.0.weight": torch.randn(out // 2, _CLIP_DIM),
        f"{root}.model.0.bias": torch.randn(out // 2),
        f"{root}.model.2.weight": torch.randn(out, out // 2),
        f"{root}.model.2.bias": torch.randn(out),
    }


def _features(folder: Path) -> None:
    """The spec of one's own with the CLIP of the folder, and what that CLIP makes of the photos."""
    from capfw import load_spec
    from capfw.core.engine.build import build_encoder

    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    spec |= {
        "encoder": {"name": "clip", "weights": "./my-clip"},
        "mapper": {"name": "mlp", "prefix_length": 2},
        "run_dir": "runs/own-clip",
    }
    (folder / "spec-own-clip.json").write_text(json.dumps(spec), encoding="utf-8")
    encoder = build_encoder(load_spec(folder / "spec-own-clip.json"))
    files = sorted((folder / "images").glob("*/*.png"))
    pixels = torch.stack([encoder.transform(file.read_bytes()) for file in files])
    torch.save(
        {"filenames": [file.name for file in files], "embeddings": encoder.encode(pixels)[:, 0]},
        folder / "embeddings.pt",
    )
