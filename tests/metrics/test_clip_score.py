"""CLIPScore and RefCLIPScore of a tiny random CLIP, against the formulas of Hessel et al. (2021) written out."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from capfw.core.protocols import (
    BadCheckpoint,
    Captioned,
    ComponentError,
    DataError,
    FileSource,
    MemorySource,
    MissingWeights,
    Source,
    UnreadableImage,
    UnreadableSource,
)
from capfw.plugins.libraries.clip_options import TINY_TOWERS as TINY
from capfw.plugins.metrics.clip_score import ClipScoreConfig, RefClipScoreConfig, register_metrics
from capfw.plugins.metrics.clip_score.model import ClipScore, RefClipScore

CANDIDATES = {3: "a red square", "b": "", 1: "two dogs run " + "very " * 90 + "far", 9: "a sign"}
REFERENCES = {3: ("a red thing",), "b": ("a cat", "a dog on grass"), 1: ("dogs",), 9: ("no", "yes", "a sign")}


@pytest.fixture(scope="module")
def original() -> open_clip.CLIP:
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY.model_dump()).eval()
    with torch.no_grad():  # wide apart, so that some similarities are negative
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    return model


@pytest.fixture(scope="module")
def weights(original: open_clip.CLIP, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(original.state_dict(), file)
    return str(file)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Source]:
    folder = tmp_path_factory.mktemp("images")
    sources: dict[Any, Source] = {}
    for seed, image_id in enumerate(CANDIDATES):
        image, buffer = Image.radial_gradient("L").resize((57, 40)).rotate(30 * seed), io.BytesIO()
        image = Image.merge("RGB", [image.point(lambda v, k=k + seed: (v * k) % 256) for k in (1, 2, 5)])
        image.save(buffer, "PNG")
        (folder / f"{image_id}.png").write_bytes(buffer.getvalue())
        file = FileSource(folder / f"{image_id}.png")
        sources[image_id] = MemorySource(buffer.getvalue(), f"image {image_id}") if seed % 2 else file
    return sources


@torch.no_grad()
def cosines(original: open_clip.CLIP, images: dict[Any, Source]) -> tuple[dict[Any, float], dict[Any, float]]:
    """cos(candidate, image) and the greatest cos(candidate, reference), one image at a time."""
    transform, tokenizer = open_clip.image_transform(32, is_train=False), open_clip.SimpleTokenizer()

    def text(caption: str) -> Tensor:
        return original.encode_text(tokenizer(["A photo depicts " + caption]), normalize=True)[0]

    with_image, with_references = {}, {}
    for image_id, source in images.items():
        picture = Image.open(io.BytesIO(source.read()))
        candidate = text(CANDIDATES[image_id])
        with_image[image_id] = float(candidate @ original.encode_image(transform(picture)[None], normalize=True)[0])
        with_references[image_id] = max(float(candidate @ text(reference)) for reference in REFERENCES[image_id])
    return with_image, with_references


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_values_follow_the_paper(
    original: open_clip.CLIP, weights: str, images: dict[Any, Source], batch_size: int
) -> None:
    with_image, with_references = cosines(original, images)
    assert min(with_image.values()) < 0 < max(with_image.values())  # both sides of the clipping are tried
    clip_s = {i: 2.5 * max(cosine, 0) for i, cosine in with_image.items()}
    options = {"model": TINY, "weights": weights, "batch_size": batch_size}
    scores = ClipScore(ClipScoreConfig(**options)).score(Captioned(CANDIDATES, REFERENCES, images))
    assert scores.per_image["CLIPScore"] == pytest.approx(clip_s, abs=1e-5)
    assert list(scores.per_image["CLIPScore"]) == list(CANDIDATES)
    assert scores.corpus == {"CLIPScore": pytest.approx(sum(clip_s.values()) / 4, abs=1e-5)}
    harmonic = {}
    for i, value in clip_s.items():
        nearest = max(with_references[i], 0)
        harmonic[i] = 2 / (1 / value + 1 / nearest) if value and nearest else 0.0
    assert max(harmonic.values()) > 0.1
    scores = RefClipScore(RefClipScoreConfig(**options)).score(Captioned(CANDIDATES, REFERENCES, images))
    assert scores.per_image["RefCLIPScore"] == pytest.approx(harmonic, abs=1e-5)
    assert scores.corpus == {"RefCLIPScore": pytest.approx(sum(harmonic.values()) / 4, abs=1e-5)}


def test_transparent_grey_and_rotated_images_score_as_they_look(weights: str) -> None:
    metric = ClipScore(ClipScoreConfig(model=TINY, weights=weights))

    def score(image: Image.Image, **options: Any) -> float:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **options)
        return metric.score(Captioned({1: "a sign"}, {}, {1: MemorySource(buffer.getvalue())})).corpus["CLIPScore"]

    upright = Image.linear_gradient("L").resize((40, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    assert score(upright) == pytest.approx(score(upright.convert("RGB")))
    assert score(upright.rotate(90, expand=True), exif=exif) == pytest.approx(score(upright))
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert score(clear) == pytest.approx(score(Image.new("RGB", (32, 32), "white")))


def test_a_built_in_architecture_and_the_signature() -> None:
    metric = ClipScore(ClipScoreConfig(model="ViT-S-32-alt", weights="random", prompt="Seen: "))
    signature = metric.signature()
    assert signature["variant"] == 'ViT-S-32-alt, random, w = 2.5, prompt "Seen: "'
    assert signature["library"] == f"open_clip {open_clip.__version__}"
    tiny = [ClipScore(ClipScoreConfig(model=TINY, weights="random")).signature() for _ in range(2)]
    assert tiny[0]["weights"] != tiny[1]["weights"]  # other random weights, other scores


def test_the_components_announce_their_scores(images: dict[Any, Source]) -> None:
    for component in register_metrics():
        metric = component.load()(component.example)
        scores = metric.score(Captioned(CANDIDATES, REFERENCES, images))
        assert tuple(scores.corpus) == tuple(scores.per_image) == component.example.score_names()
        with pytest.raises(DataError, match="needs the images, but a file of captions has none"):
            metric.score(Captioned(CANDIDATES, REFERENCES))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "ViT-B-23"}, ComponentError, r'no architecture "ViT-B-23". Did you mean "ViT-B-32"\?'),
        ({"weights": "openia"}, ComponentError, r'no weights "openia" .* Did you mean "openai"\?'),
        ({"model": TINY, "weights": "openai"}, ComponentError, "(?s)no weights .*Published: none"),
        ({"model": "ViT-B-16-SigLIP", "weights": "random"}, ComponentError, "vocabulary of CLIP's own tokenizer"),
        ({"weights": "openai"}, MissingWeights, r'(?s)"openai" of ViT-B-32 is not on.*"weights" to "\./clip'),
    ],
)
def test_what_cannot_be_built_says_why(
    options: dict[str, Any], error: type[ComponentError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(error, match=said) as caught:
        ClipScore(ClipScoreConfig(**options))
    assert type(caught.value) is error


def test_a_file_of_another_architecture_is_refused(weights: str, tmp_path: Path) -> None:
    narrower = TINY.model_copy(update={"embed_dim": 4})
    with pytest.raises(BadCheckpoint, match=r"of another shape: .*visual\.proj \(16, 8\) \(needed \(16, 4\)\)"):
        ClipScore(ClipScoreConfig(model=narrower, weights=weights))
    (tmp_path / "cut.safetensors").write_bytes(Path(weights).read_bytes()[:1000])
    with pytest.raises(BadCheckpoint, match=r"cut\.safetensors cannot be read"):
        ClipScore(ClipScoreConfig(model=TINY, weights=str(tmp_path / "cut.safetensors")))


def test_openai_archives_are_read_and_are_quick_gelu(original: open_clip.CLIP, tmp_path: Path) -> None:
    holder = torch.nn.Module()
    for name, value in original.state_dict().items():
        _put(holder, name, value)
    for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
        holder.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, OpenAI's files are what they are
        torch.jit.script(holder).save(str(tmp_path / "openai.pt"))
        metric = ClipScore(ClipScoreConfig(model=TINY, weights=str(tmp_path / "openai.pt")))
    assert isinstance(metric.towers.visual.transformer.resblocks[0].mlp.gelu, open_clip.transformer.QuickGELU)
    assert torch.equal(metric.towers.text_projection, original.text_projection)


def _put(module: torch.nn.Module, name: str, value: Tensor) -> None:
    first, _, rest = name.partition(".")
    if rest:
        if first not in dict(module.named_children()):
            module.add_module(first, torch.nn.Module())
        _put(getattr(module, first), rest, value)
    else:
        module.register_parameter(first, torch.nn.Parameter(value.clone()))


def test_missing_and_broken_images_are_named(weights: str, images: dict[Any, Source]) -> None:
    metric = RefClipScore(RefClipScoreConfig(model=TINY, weights=weights))
    with pytest.raises(DataError, match="3 candidates have no image, the first for image b"):
        metric.score(Captioned(CANDIDATES, REFERENCES, {3: images[3]}))
    with pytest.raises(UnreadableImage, match="image b: cannot decode the image"):
        metric.score(Captioned(CANDIDATES, REFERENCES, images | {"b": MemorySource(b"no image", "image b")}))
    with pytest.raises(DataError, match="2 images have no references"):
        metric.score(Captioned(CANDIDATES, {3: ("x",), 1: ("y",)}, images))
    with pytest.raises(DataError, match="no captions to score"):
        metric.score(Captioned({}, {}, {}))


def test_a_folder_saved_by_clip_model_scores_as_clip_model_does(images: dict[Any, Source], tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPConfig(
        projection_dim=8,
        vision_config=sizes | {"image_size": 32, "patch_size": 16},
        text_config=sizes | {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407},
    )
    torch.manual_seed(1)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    model.save_pretrained(tmp_path)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)

    scores = ClipScore(ClipScoreConfig(weights=str(tmp_path))).score(Captioned(CANDIDATES, REFERENCES, images))

    ids = open_clip.SimpleTokenizer()(["A photo depicts " + caption for caption in CANDIDATES.values()])
    opened = [Image.open(io.BytesIO(s.read())).convert("RGB") for s in images.values()]
    with torch.no_grad():
        pixels = processor(opened, return_tensors="pt")["pixel_values"]
        cosine = (model(input_ids=ids, pixel_values=pixels).logits_per_image / model.logit_scale.exp()).diag()
    expected = dict(zip(CANDIDATES, (2.5 * cosine.clamp(min=0)).tolist(), strict=True))
    assert scores.per_image["CLIPScore"] == pytest.approx(expected, abs=1e-5)
    assert max(expected.values()) > 0.1

    for size in [(500, 374), (374, 500), (640, 427), (333, 500), (3, 70), (32, 32)]:
        image = Image.effect_noise(size, 90).convert("RGB")
        pixels = ClipScore(ClipScoreConfig(weights=str(tmp_path))).transform(image)
        assert torch.equal(pixels, processor(image, return_tensors="pt")["pixel_values"][0]), size

    with pytest.raises(ComponentError, match="states its own architecture"):
        ClipScore(ClipScoreConfig(weights=str(tmp_path), model="ViT-B-32"))
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors cannot be read as weights"):
        ClipScore(ClipScoreConfig(weights=str(tmp_path)))


def test_images_are_opened_as_for_the_encoders(weights: str) -> None:
    """A grey photo of 16 bits is not white where its values exceed 255."""
    metric, values = (
        ClipScore(ClipScoreConfig(model=TINY, weights=weights)),
        Image.linear_gradient("L").resize((40, 32)),
    )

    def score(image: Image.Image) -> float:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return metric.score(Captioned({1: "a sign"}, {}, {1: MemorySource(buffer.getvalue())})).corpus["CLIPScore"]

    deep = Image.fromarray(np.asarray(values).astype(np.uint16) * 257)
    assert score(deep) == pytest.approx(score(values), abs=1e-6)
    with pytest.raises(UnreadableSource, match=r"gone\.png: cannot be read: No such file"):
        metric.score(Captioned({1: "a sign"}, {}, {1: FileSource(Path("gone.png"))}))


def test_it_is_a_module_with_both_towers(weights: str, images: dict[Any, Source]) -> None:
    metric = RefClipScore(RefClipScoreConfig(model=TINY, weights=weights))
    assert isinstance(metric, torch.nn.Module)
    assert not metric.training
    assert "towers.visual.proj" in metric.state_dict()
    assert "towers.text_projection" in metric.state_dict()
    assert isinstance(metric.score(Captioned(CANDIDATES, REFERENCES, images)).corpus["RefCLIPScore"], float)
    assert all(p.grad is None for p in metric.parameters())


def test_a_folder_in_the_form_of_open_clip(
    original: open_clip.CLIP, weights: str, images: dict[Any, Source], tmp_path: Path
) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY.model_dump(), "preprocess_cfg": {}}))
    save_file(original.state_dict(), tmp_path / "open_clip_model.safetensors")
    of_folder = ClipScore(ClipScoreConfig(weights=str(tmp_path))).score(Captioned(CANDIDATES, REFERENCES, images))
    of_file = ClipScore(ClipScoreConfig(model=TINY, weights=weights)).score(Captioned(CANDIDATES, REFERENCES, images))
    assert of_folder.per_image == of_file.per_image
