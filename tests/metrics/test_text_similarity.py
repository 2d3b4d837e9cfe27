"""TextSimilarity of a tiny saved encoder, against transformers one caption at a time; and the folders that it refuses."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertModel

from capfw.core.protocols import BadCheckpoint, CapfwWarning, Captioned, ComponentError, DataError, MissingWeights
from capfw.plugins.metrics.text_similarity import TextSimilarityConfig, register_metrics
from capfw.plugins.metrics.text_similarity.model import TextSimilarity

CANDIDATES = {1: "a dog runs", "b": "", 2: "two cats " * 20}
REFERENCES = {1: ("a dog runs", "a bird"), "b": ("x",), 2: ("cats", "a red bus in the rain", "two cats asleep")}
CAPTIONED = Captioned(CANDIDATES, REFERENCES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    [component] = register_metrics()
    assert component.write_example is not None
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(3)
    component.write_example(path)
    model = BertModel.from_pretrained(path)
    with torch.no_grad():  # wide apart
        for name, parameter in model.named_parameters():
            if "position" in name or "token_type" in name:
                parameter.zero_()  # they are the same for every caption
            elif parameter.ndim == 2:
                parameter.normal_(std=0.7)
    model.save_pretrained(path)
    return path


@torch.no_grad()
def embedded(folder: Path, caption: str) -> torch.Tensor:
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(caption, truncation=True, max_length=64, return_tensors="pt")["input_ids"]
    mean = model(input_ids=ids).last_hidden_state[0].mean(dim=0)
    return mean / mean.norm()


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_the_value_is_the_cosine_with_the_nearest_reference(folder: Path, batch_size: int) -> None:
    metric = TextSimilarity(TextSimilarityConfig(weights=str(folder), batch_size=batch_size))
    scores = metric.score(CAPTIONED)
    expected = {
        i: max(float(embedded(folder, caption) @ embedded(folder, known)) for known in REFERENCES[i])
        for i, caption in CANDIDATES.items()
    }
    assert scores.per_image["TextSimilarity"] == pytest.approx(expected, abs=1e-5)
    assert scores.corpus["TextSimilarity"] == pytest.approx(sum(expected.values()) / 3, abs=1e-5)
    assert expected[1] == pytest.approx(1, abs=1e-5)
    assert max(expected.values()) - min(expected.values()) > 0.01  # far more than the tolerance


def test_captions_are_cut_at_the_tokens_of_the_option_or_of_the_encoder(folder: Path) -> None:
    metric = TextSimilarity(TextSimilarityConfig(weights=str(folder), max_tokens=6))
    long = {1: "a dog runs", 2: "a dog in"}  # equal in their first four letters
    scores = metric.score(Captioned(long, {1: ("a do not",), 2: ("a document",)}))
    assert list(scores.per_image["TextSimilarity"].values()) == pytest.approx([1, 1], abs=1e-5)
    assert metric.max_tokens == 6
    assert TextSimilarity(TextSimilarityConfig(weights=str(folder), max_tokens=500)).max_tokens == 64


def test_an_encoder_of_another_pooling_is_announced(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    stated = tmp_path / "1_Pooling/config.json"
    stated.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    with pytest.warns(CapfwWarning, match="was trained with another pooling than the mean"):
        TextSimilarity(TextSimilarityConfig(weights=str(tmp_path)))
    stated.write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CapfwWarning)
        TextSimilarity(TextSimilarityConfig(weights=str(tmp_path)))


def test_what_cannot_be_used_says_why(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = TextSimilarity(TextSimilarityConfig(weights=str(folder)))
    with pytest.raises(DataError, match="1 images have no references, the first image 2"):
        metric.score(Captioned({1: "a", 2: "b"}, {1: ("a",), 2: ()}))
    with pytest.raises(DataError, match="no captions to score"):
        metric.score(Captioned({}, {}))
    with pytest.raises(BadCheckpoint, match="cannot be loaded") as caught:
        TextSimilarity(TextSimilarityConfig(weights=str(tmp_path)))
    assert "save_pretrained" in str(caught.value)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ComponentError, match="has no padding token"):
        TextSimilarity(TextSimilarityConfig(weights=str(tmp_path)))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MissingWeights, match="all-MiniLM-L6-v2"):
        TextSimilarity(TextSimilarityConfig())


def test_the_signature_names_the_encoder_and_its_weights(folder: Path) -> None:
    signature = TextSimilarity(TextSimilarityConfig(weights=str(folder))).signature()
    assert signature["variant"] == f"{folder.name}, mean pooling, normalised, nearest reference"
    assert len(signature["weights"]) == 16
