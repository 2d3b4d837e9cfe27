"""BLEU, ROUGE-L and CIDEr: the published scores of coco-caption's own example, and the edges of what they accept."""

from __future__ import annotations

import json
import math
import re
import warnings
from pathlib import Path

import pytest

from capfw.core.protocols import CapfwWarning, Captioned, ComponentError, DataError
from capfw.plugins.libraries.document_frequencies import write_document_frequencies
from capfw.plugins.libraries.ptb import tokenize_all
from capfw.plugins.metrics.coco_caption import BleuConfig, CiderConfig, RougeLConfig, register_metrics
from capfw.plugins.metrics.coco_caption.model import Bleu, Cider, RougeL

from .conftest import Fakecap

NAMES = {"Bleu_1": "BLEU-1", "Bleu_2": "BLEU-2", "Bleu_3": "BLEU-3", "Bleu_4": "BLEU-4"}
NAMES |= {"ROUGE_L": "ROUGE-L", "CIDEr": "CIDEr"}


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


@pytest.mark.usefixtures("no_java")
def test_fakecap_scores_are_the_published_ones(fakecap: Fakecap, capsys: pytest.CaptureFixture[str]) -> None:
    corpus: dict[str, float] = {}
    for metric in (Bleu(BleuConfig()), RougeL(RougeLConfig()), Cider(CiderConfig())):
        scores = metric.score(fakecap.captioned)
        corpus |= scores.corpus
        assert all(list(values) == list(fakecap.references) for values in scores.per_image.values())
    expected = {NAMES[name]: value for name, value in fakecap.expected["ptb"].items() if name in NAMES}
    assert corpus == pytest.approx(expected, rel=0, abs=1e-9)
    per_image = {int(image_id): value for image_id, value in fakecap.expected["per_image_cider_ptb"].items()}
    assert {i: scores.per_image["CIDEr"][i] for i in per_image} == pytest.approx(per_image, rel=0, abs=1e-9)
    assert capsys.readouterr().out == ""


def test_fakecap_tokens_are_the_published_ones(fakecap: Fakecap) -> None:
    for image_id, expected in fakecap.expected["tokenized_ptb"].items():
        assert tokenize_all(fakecap.references[int(image_id)]) == expected["references"]
        assert tokenize_all([fakecap.candidates[int(image_id)]]) == [expected["result"]]


def test_values_worked_out_by_hand() -> None:
    candidates, references = {"x": "A black dog runs."}, {"x": ("a black dog sleeps", "one dog")}
    bleu = Bleu(BleuConfig()).score(Captioned(candidates, references)).corpus
    # 3 of 4 words, 2 of 3 pairs and 1 of 2 triples stand in a reference of the same length.
    assert bleu["BLEU-1"] == pytest.approx(3 / 4)
    assert bleu["BLEU-2"] == pytest.approx(math.sqrt(3 / 4 * 2 / 3))
    assert bleu["BLEU-3"] == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    # Longest common subsequence: 3 of 4 words on either side, so precision = recall = F = 3/4.
    assert RougeL(RougeLConfig()).score(Captioned(candidates, references)).corpus["ROUGE-L"] == pytest.approx(3 / 4)


def test_cider_with_frequencies_from_a_file(tmp_path: Path, fakecap: Fakecap) -> None:
    file = tmp_path / "frequencies.json"
    write_document_frequencies(file, fakecap.references, origin="fakecap references")
    metric = Cider(CiderConfig(document_frequencies=file))
    whole = metric.score(fakecap.captioned)
    assert whole.corpus["CIDEr"] == pytest.approx(fakecap.expected["ptb"]["CIDEr"], abs=1e-9)
    some = list(fakecap.candidates)[:7]  # with fixed frequencies an image's score does not depend on its company
    alone = metric.score(Captioned({i: fakecap.candidates[i] for i in some}, {i: fakecap.references[i] for i in some}))
    assert alone.per_image["CIDEr"] == pytest.approx({i: whole.per_image["CIDEr"][i] for i in some}, abs=1e-12)
    assert metric.signature()["document_frequencies"] == "fakecap references, 126 images"
    content = json.loads(file.read_text("utf-8"))
    of_a_man = [i for i, captions in fakecap.references.items() if any("a man" in c for c in tokenize_all(captions))]
    assert content["num_images"] == 126
    assert 1 < content["ngrams"]["a man"] <= len(of_a_man)
    assert min(content["ngrams"].values()) == 2


def test_the_signature_of_cider_does_not_depend_on_what_was_scored() -> None:
    metric = Cider(CiderConfig())
    before = metric.signature()
    assert before["document_frequencies"] == "the references scored against"
    captions = {i: f"a dog number {i}" for i in range(60)}
    metric.score(Captioned(captions, {i: (caption,) for i, caption in captions.items()}))
    assert metric.signature() == before


def test_cider_warns_on_few_images() -> None:
    metric = Cider(CiderConfig())
    captions = {i: f"{['a', 'b', 'c', 'd', 'e', 'f'][i % 6]} dog number {i}" for i in range(60)}
    references = {i: (caption,) for i, caption in captions.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.score(Captioned(captions, references))
    few = {i: captions[i] for i in range(49)}
    with pytest.warns(
        CapfwWarning, match=r"among 49 images.*capfw score --references FILE --write-document-frequencies"
    ):
        metric.score(Captioned(few, {i: references[i] for i in few}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.score(Captioned(few, {i: references[i] for i in few}))  # said once


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "JSONDecodeError"), ('{"ngrams": {}}', "KeyError"), ('{"capfw_document_frequencies": 9}', "version 9")],
)
def test_another_file_is_no_document_frequencies(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(ComponentError, match=said) as caught:
        Cider(CiderConfig(document_frequencies=tmp_path / "other.json"))
    assert caught.value.option == "document_frequencies"
    assert "--write-document-frequencies" in str(caught.value)


@pytest.mark.filterwarnings("ignore::capfw.core.errors.CapfwWarning")
@pytest.mark.parametrize("metric", [Bleu(BleuConfig()), RougeL(RougeLConfig()), Cider(CiderConfig())])
class TestEdges:
    def test_an_empty_candidate_scores_zero(self, metric: Bleu) -> None:
        scores = metric.score(
            Captioned({1: "", 2: "a dog", 3: "..."}, {1: ("a cat",), 2: ("a dog",), 3: ("one", "two")})
        )
        assert all(values[1] == values[3] == 0 for values in scores.per_image.values())
        assert all(math.isfinite(value) for value in scores.corpus.values())

    def test_empty_references_do_not_crash(self, metric: Bleu) -> None:
        scores = metric.score(Captioned({1: "a dog"}, {1: ("!",)}))
        assert all(value == pytest.approx(0, abs=1e-6) for value in scores.corpus.values())

    def test_order_and_kind_of_ids_are_kept(self, metric: Bleu) -> None:
        references = {"7": ("a cat sits here",), 7: ("a red dog runs",), "b": ("two birds",)}
        scores = metric.score(Captioned({7: "a red dog runs", "b": "no", "7": "no"}, references))
        for values in scores.per_image.values():
            assert list(values) == ["7", 7, "b"]
            assert values[7] > values["7"] == pytest.approx(0, abs=1e-4)

    def test_images_must_pair_up(self, metric: Bleu) -> None:
        references = {i: ("a dog",) for i in range(9)}
        with pytest.raises(DataError, match=re.escape("no candidate for 8 images (1, 2, 3, 4, 5 and 3 more)")):
            metric.score(Captioned({0: "a dog"}, references))
        with pytest.raises(DataError, match=re.escape("no references for 1 image (x)")):
            metric.score(Captioned({0: "a dog", "x": "a cat"}, {0: ("a dog",)}))
        with pytest.raises(DataError, match=re.escape("no references for 1 image (0)")):
            metric.score(Captioned({0: "a dog"}, {0: ()}))
        with pytest.raises(DataError, match="no captions to score"):
            metric.score(Captioned({}, {}))


def test_every_component_yields_the_scores_it_announces() -> None:
    components = {component.name: component for component in register_metrics()}
    assert list(components) == ["bleu", "rouge-l", "cider", "meteor", "spice"]
    captions = {i: f"a dog number {i}" for i in range(60)}
    for name in ("bleu", "rouge-l", "cider"):
        metric = components[name].load()(components[name].example)
        scores = metric.score(Captioned(captions, {i: (caption,) for i, caption in captions.items()}))
        assert tuple(scores.corpus) == tuple(scores.per_image) == components[name].example.score_names()
        assert metric.signature()["tokenizer"] == "ptb (capfw, no Java)"
        assert metric.signature()["library"].startswith("pycocoevalcap ")
