"""PAC-S and RefPAC-S: a checkpoint in the authors' form, scored by transformers' CLIP and the formulas of Sarto et al."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from capfw.core.protocols import BadCheckpoint, Captioned, DataError, MemorySource, Source
from capfw.core.protocols.component import Component
from capfw.plugins.libraries.clip_architectures import TwoTowers
from capfw.plugins.metrics.pac_s import PacScoreConfig, RefPacScoreConfig, register_metrics
from capfw.plugins.metrics.pac_s.model import PacScore, RefPacScore

CANDIDATES: dict[Any, str] = {3: "a red square", "b": "", 1: "two dogs run " + "very " * 90 + "far", 9: "a sign"}
REFERENCES: dict[Any, tuple[str, ...]] = {
    3: ("a red thing",),
    "b": ("a cat", "a dog"),
    1: ("dogs",),
    9: ("no", "a sign"),
}


def clip_model(vision: dict[str, int], text: dict[str, int], width: int) -> CLIPModel:
    """A random CLIPModel of transformers with the activation of OpenAI's models, quick-GELU."""
    tokens = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    config = CLIPConfig(projection_dim=width, vision_config=vision, text_config=text | tokens)
    torch.manual_seed(1)
    model = CLIPModel(config).eval()
    with torch.no_grad():  # wide apart, so that some similarities are negative
        for name, parameter in model.named_parameters():
            if "projection" in name or "embedding" in name:
                parameter.normal_(std=0.7)
    return model


def openai_state(model: CLIPModel) -> dict[str, Tensor]:
    """The weights of a CLIPModel under the names of OpenAI's program, as in the authors' checkpoints."""
    state = model.state_dict()
    renamed = {
        "logit_scale": state["logit_scale"],
        "visual.proj": state["visual_projection.weight"].T,
        "text_projection": state["text_projection.weight"].T,
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
    }
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    norms["ln_final"] = "text_model.final_layer_norm"
    for ours, theirs in norms.items():
        renamed |= {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    inner = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
    inner |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for tower, prefix in (("vision_model", "visual."), ("text_model", "")):
        for number in range(getattr(model, tower).config.num_hidden_layers):
            block, layer = f"{prefix}transformer.resblocks.{number}", f"{tower}.encoder.layers.{number}"
            for kind in ("weight", "bias"):
                renamed |= {f"{block}.{ours}.{kind}": state[f"{layer}.{name}.{kind}"] for ours, name in inner.items()}
                parts = [state[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                renamed[f"{block}.attn.in_proj_{kind}"] = torch.cat(parts)
    return {name: value.clone() for name, value in renamed.items()}


def images() -> dict[Any, Source]:
    sources: dict[Any, Source] = {}
    for seed, image_id in enumerate(CANDIDATES):
        image, buffer = Image.radial_gradient("L").resize((57, 40)).rotate(30 * seed), io.BytesIO()
        Image.merge("RGB", [image.point(lambda v, k=k + seed: (v * k) % 256) for k in (1, 2, 5)]).save(buffer, "PNG")
        sources[image_id] = MemorySource(buffer.getvalue(), f"image {image_id}")
    return sources


@torch.no_grad()
def expected(model: CLIPModel, sources: dict[Any, Source]) -> tuple[dict[Any, float], dict[Any, float]]:
    """Both scores of each image, one at a time, with transformers."""
    size = model.config.vision_config.image_size
    transform = open_clip.image_transform(size, is_train=False)

    def text(caption: str) -> Tensor:
        ids = open_clip.SimpleTokenizer()(["A photo depicts " + caption])
        pooled = model.text_model(input_ids=ids).pooler_output
        return torch.nn.functional.normalize(model.text_projection(pooled), dim=-1)[0]

    free, with_references = {}, {}
    for image_id, source in sources.items():
        pixels = transform(Image.open(io.BytesIO(source.read())))[None]
        picture = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        candidate = text(CANDIDATES[image_id])
        free[image_id] = 2 * max(0.0, float(candidate @ torch.nn.functional.normalize(picture, dim=-1)[0]))
        nearest = max(0.0, *(float(candidate @ text(known)) for known in REFERENCES[image_id]))
        total = free[image_id] + nearest
        with_references[image_id] = 2 * free[image_id] * nearest / total if total else 0.0
    return free, with_references


def require_parity(model: CLIPModel, file: Path, architecture: TwoTowers | None) -> None:
    torch.save({"state_dict": openai_state(model), "epoch": 3}, file)
    sources = images()
    free, with_references = expected(model, sources)
    options = {"weights": str(file), "model": architecture}
    captioned = Captioned(CANDIDATES, REFERENCES, sources)
    scores = PacScore(PacScoreConfig(**options)).score(captioned)
    assert scores.per_image["PAC-S"] == pytest.approx(free, abs=1e-4)
    assert scores.corpus["PAC-S"] == pytest.approx(sum(free.values()) / 4, abs=1e-4)
    assert max(free.values()) > 0.05
    scores = RefPacScore(RefPacScoreConfig(**options)).score(captioned)
    assert scores.per_image["RefPAC-S"] == pytest.approx(with_references, abs=1e-4)


def tiny() -> tuple[CLIPModel, TwoTowers]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    architecture = TwoTowers(
        embed_dim=8,
        quick_gelu=True,
        vision_cfg={"image_size": 32, "patch_size": 16, "width": 16, "layers": 2, "head_width": 8},
        text_cfg={"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    )
    return clip_model(sizes | {"image_size": 32, "patch_size": 16}, sizes, 8), architecture


def test_a_checkpoint_in_the_authors_form_scores_as_transformers_does(tmp_path: Path) -> None:
    model, architecture = tiny()
    require_parity(model, tmp_path / "clip.pth", architecture)


@pytest.mark.slow
def test_vit_b_32_is_the_architecture_by_default(tmp_path: Path) -> None:
    """151 million random weights, in the sizes of the authors' clip_ViT-B-32.pth."""
    require_parity(clip_model({}, {}, 512), tmp_path / "clip_ViT-B-32.pth", None)


def test_a_folder_of_transformers_states_its_own_architecture(tmp_path: Path) -> None:
    model, architecture = tiny()
    torch.save({"state_dict": openai_state(model)}, tmp_path / "clip.pth")
    model.save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    of_folder = PacScore(PacScoreConfig(weights=str(tmp_path)))
    of_file = PacScore(PacScoreConfig(weights=str(tmp_path / "clip.pth"), model=architecture))
    assert of_folder.config.architecture() is None
    assert torch.equal(of_folder.towers.text_projection, of_file.towers.text_projection)


def test_wrong_files_and_missing_references_are_named(tmp_path: Path) -> None:
    model, architecture = tiny()
    state = openai_state(model)
    del state["visual.proj"]
    torch.save({"state_dict": state}, tmp_path / "clip.pth")
    with pytest.raises(BadCheckpoint, match=r"clip\.pth does not fit this architecture: 1 missing: visual\.proj"):
        PacScore(PacScoreConfig(weights=str(tmp_path / "clip.pth"), model=architecture))
    metric = RefPacScore(RefPacScoreConfig(weights="random", model=architecture))
    with pytest.raises(DataError, match="4 images have no references, which metric RefPAC-S needs") as caught:
        metric.score(Captioned(CANDIDATES, {}, images()))
    assert "use metric pac-s" in str(caught.value)
    with pytest.raises(DataError, match="metric RefPAC-S needs the images"):
        metric.score(Captioned(CANDIDATES, REFERENCES))


@pytest.mark.parametrize("component", register_metrics(), ids=lambda each: each.name)
def test_weights_have_no_default_and_the_signature_has_the_weight(component: Component) -> None:
    assert component.config.model_fields["weights"].is_required()
    assert "w = 2.0, prompt" in component.load()(component.example).signature()["variant"]
