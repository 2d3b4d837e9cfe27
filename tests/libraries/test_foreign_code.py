"""Weights folders that bring Python code: it never runs, nobody is asked, and the error says what is wrong."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModel, CLIPConfig, CLIPImageProcessor, CLIPModel, ViTImageProcessor

from capfw.core.protocols import BadCheckpoint
from capfw.plugins.decoders.causal_lm import CausalLMConfig, Gpt2Config
from capfw.plugins.decoders.causal_lm.model import LanguageModel
from capfw.plugins.encoders.clip import ClipConfig
from capfw.plugins.encoders.clip.model import ClipEncoder
from capfw.plugins.encoders.vit import VitConfig
from capfw.plugins.encoders.vit.model import VitEncoder
from capfw.plugins.metrics.clip_score import ClipScoreConfig
from capfw.plugins.metrics.clip_score.model import ClipScore

CODE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import PretrainedConfig, PreTrainedModel
class Config(PretrainedConfig):
    model_type = "stranger"
class Anything(PreTrainedModel):
    config_class = Config
"""
AUTO_MAP = {"AutoConfig": "code.Config"} | dict.fromkeys(
    ("AutoModel", "AutoModelForCausalLM", "AutoImageProcessor"), "code.Anything"
)
REFUSED = r'needs Python code that comes with its files \("auto_map"\); capfw never runs'
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(params=["a yes", "closed"], autouse=True)
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal at which every question is answered with yes, or none."""
    stdin = io.StringIO("y\n" * 9)
    if request.param == "closed":
        stdin.close()
    monkeypatch.setattr("sys.stdin", stdin)


@pytest.fixture
def marker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """A file that the foreign code would make."""
    file = tmp_path / "executed"
    yield file
    assert not file.exists()
    assert "Do you wish" not in capsys.readouterr().out


def bring_code(folder: Path, marker: Path, file: str = "config.json", **changes: object) -> str:
    """Changes the JSON file of a folder to name code of its own, and puts that beside it."""
    folder.mkdir(exist_ok=True)
    saved = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(saved | {"auto_map": AUTO_MAP} | changes))
    (folder / "code.py").write_text(CODE.format(marker=str(marker)))
    return str(folder)


def save_clip(folder: Path) -> None:
    text = TINY | {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    vision = TINY | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)


def prepared(folder: Path, **options: Any) -> tuple[Gpt2Config, Path]:
    """A tiny GPT-2 with a vocabulary of its own, and the assets of its run."""
    config = Gpt2Config(
        weights="random",
        tokenizer="from-captions",
        num_layers=1,
        width=8,
        num_heads=1,
        max_positions=16,
        **options,
    )
    folder.mkdir()
    LanguageModel.prepare(config, captions=["a dog on a hill"] * 5, assets=folder)
    return config, folder


def test_vit(tmp_path: Path, marker: Path) -> None:
    folder = tmp_path / "weights"
    with pytest.raises(BadCheckpoint, match=REFUSED) as caught:
        VitEncoder(VitConfig(weights=bring_code(folder, marker, model_type="stranger")))
    assert caught.value.option == "weights"
    shutil.rmtree(folder)

    model = AutoModel.from_config(AutoConfig.for_model("vit", **TINY, image_size=32, patch_size=16))
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    VitEncoder(VitConfig(weights=bring_code(folder, marker)))  # transformers has a class of its own for it
    bring_code(folder, marker, "preprocessor_config.json", image_processor_type="Stranger")
    with pytest.raises(BadCheckpoint, match=REFUSED):
        VitEncoder(VitConfig(weights=str(folder)))


def test_clip_and_clip_score(tmp_path: Path, marker: Path) -> None:
    folder = tmp_path / "weights"
    save_clip(folder)
    bring_code(folder, marker)
    ClipEncoder(ClipConfig(weights=str(folder)))
    bring_code(folder, marker, "preprocessor_config.json", image_processor_type="Stranger")
    with pytest.raises(BadCheckpoint, match=REFUSED):
        ClipEncoder(ClipConfig(weights=str(folder)))
    with pytest.raises(BadCheckpoint, match=REFUSED):
        ClipScore(ClipScoreConfig(weights=str(folder)))


def test_weights_of_a_decoder(tmp_path: Path, marker: Path) -> None:
    _, kept = prepared(tmp_path / "kept")
    weights, assets = tmp_path / "weights", tmp_path / "assets"
    shutil.copytree(kept, weights)
    assets.mkdir()
    config = CausalLMConfig(weights=bring_code(weights, marker, model_type="stranger"))
    with pytest.raises(BadCheckpoint, match=REFUSED) as caught:
        LanguageModel.prepare(config, captions=[], assets=assets)
    assert caught.value.option == "weights"
    with pytest.raises(BadCheckpoint, match=REFUSED):  # a run whose weights were replaced later
        LanguageModel(config, assets=kept)


def test_assets_of_a_run_that_was_handed_over(tmp_path: Path, marker: Path) -> None:
    config, assets = prepared(tmp_path / "assets")
    bring_code(assets, marker)
    LanguageModel(config, assets=assets)  # transformers' own GPT-2
    bring_code(assets, marker, model_type="stranger")
    with pytest.raises(BadCheckpoint, match=REFUSED):
        LanguageModel(config, assets=assets)
    tokenizer = {"AutoTokenizer": ["code.Anything", "code.Anything"]}
    config, assets = prepared(tmp_path / "other")
    bring_code(assets, marker, "tokenizer_config.json", tokenizer_class="Stranger", auto_map=tokenizer)
    LanguageModel(config, assets=assets)  # tokenizer.json is read by transformers' own class, whatever it names
    LanguageModel.prepare(Gpt2Config(weights="random", tokenizer=str(assets)), captions=[], assets=tmp_path)
